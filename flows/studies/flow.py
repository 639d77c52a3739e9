"""A study as a Prefect flow: its rows through the DVC matrix, then its tables and pages."""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from subprocess import CalledProcessError
from typing import Any

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_link_artifact, create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.futures import PrefectFuture
from prefect.states import Cancelled, Completed, Failed
from prefect.task_runners import ThreadPoolTaskRunner

from bss.data.datasets._fetch import SHARED, VARIABLE
from flows.graph.flow import judge, stopped_on_exit
from flows.graph.machine import Machine, usable_gpus
from flows.graph.outcome import report_address
from flows.graph.output import Progress
from flows.graph.stages import ProgressBar
from flows.graph.terminal import num_columns, tell
from flows.studies.study_run import StudyRun
from flows.studies.workspaces import prepare, workspaces
from flows.workspace.children import Stopped
from flows.workspace.forkserver import forkservers

CELLS = ("evaluate", "evaluate-alone")


@flow(persist_result=False, retries=0)
def compare(run: StudyRun) -> State[None]:
    """Bring every cell of a study up to date, each seed in a workspace of its own, and write reports/compare/NAME.

    Raises:
        Busy: the same study is running.
    """
    os.environ.setdefault(VARIABLE, str(SHARED.resolve()))  # the path is relative, and the workspaces lie elsewhere
    with forkservers(len(run.params.grid.seeds) + 1):
        verdict, run = _run_all(run, Machine(usable_gpus(run.params.runtime.device)))
    if verdict.is_completed():
        from flows.studies.results import write_results  # imports what draws pages, a second

        write_results(run)
        create_markdown_artifact((run.results / "table.md").read_text(encoding="utf-8"), key="comparison")
        create_link_artifact(report_address(run.results / "page.html"), key="report", link_text="The page")
    return verdict


def _run_all(run: StudyRun, machine: Machine) -> tuple[State[None], StudyRun]:
    """Choose the fields of methods where the study wants that, then run its rows.

    Returns:
        how it ended, and the run with what was chosen.
    """
    pool: ThreadPoolTaskRunner[Any] = ThreadPoolTaskRunner(max_workers=run.params.flow.max_parallel)
    with pool, stopped_on_exit(machine.children):
        if (tuning := run.tuning()) is not None:
            if not (verdict := _run_cells(tuning, machine, pool)).is_completed():
                return verdict, run
            from flows.studies.results import validation_accuracies

            run = run.tuned(validation_accuracies(tuning))
        return _run_cells(run, machine, pool), run


def _run_cells(run: StudyRun, machine: Machine, pool: ThreadPoolTaskRunner[Any]) -> State[None]:
    """Bring the cells of all seeds up to date; how that ended."""
    folders = workspaces(run)
    for seed, workspace in folders.items():
        prepare(workspace, run, seed)
    # Packed once; the other seeds find the data in the cache.
    data = _submit("data", next(iter(folders.values())).folder, ["preprocess"], machine, pool)
    futures = {
        f"seed {seed}": _submit(f"seed {seed}", workspace.folder, CELLS, machine, pool, data)
        for seed, workspace in folders.items()
    }
    for future in futures.values():
        future.wait()
    return judge({name: future.state for name, future in futures.items()})


@task(persist_result=False, cache_policy=NO_CACHE, retries=0)
def run_workspace(name: str, workspace: Path, stages: Sequence[str], machine: Machine) -> State[None]:
    """Bring stages of a workspace up to date, in a process of their own."""
    log, bar, last = get_run_logger(), ProgressBar(name), ""
    try:
        with machine.environment("train") as environment:
            environment["PYTHONPATH"] = str(workspace / "src")  # the code that was copied
            environment["COLUMNS"] = str(num_columns() - len(f"{name}: "))
            with machine.children.run("bss", ["run", *stages], environment, workspace) as output:
                for line in map(str.rstrip, output):
                    log.info(line)
                    if (ended := re.match(r" *(\d+)/(\d+) +(.*)", line)) is not None:
                        bar.show(Progress(int(ended[1]), int(ended[2]), ended[3]))
                    if ended or line.startswith(" " * 4):
                        tell(f"{name}: {line.replace('    log: ', f'    log: {workspace}/')}")
                    last = line
    except (Stopped, CalledProcessError):
        return Cancelled() if machine.children.stopped else Failed(message=f"{name}: {last}")
    return Completed(message=last)


def _submit(
    name: str, folder: Path, stages: Sequence[str], machine: Machine, pool: ThreadPoolTaskRunner[Any], *needed: Any
) -> PrefectFuture[Any]:
    named = run_workspace.with_options(name=name, task_run_name=name)
    parameters = {"name": name, "workspace": folder, "stages": stages, "machine": machine}
    return pool.submit(named, parameters, wait_for=needed)
