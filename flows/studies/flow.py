"""A study as a Prefect flow: its rows through the DVC matrix, then its tables and pages."""

import os
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from contextlib import chdir
from pathlib import Path
from subprocess import CalledProcessError
from typing import Any

import polars as pl
import yaml
from prefect import flow, get_run_logger, task
from prefect.artifacts import create_link_artifact, create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.futures import PrefectFuture
from prefect.states import Cancelled, Completed, Failed
from prefect.task_runners import ThreadPoolTaskRunner

from bss.data.datasets._fetch import SHARED, VARIABLE
from bss.evaluation.page.words import percent
from bss.files import write_text
from bss.params import load
from bss.paths import Workspace
from bss.types import BASELINE
from flows.graph.flow import judge, stopped_on_exit
from flows.graph.machine import usable_gpus
from flows.graph.outcome import report_address
from flows.graph.output import Progress
from flows.graph.stages import Machine, ProgressBar
from flows.graph.terminal import NUM_COLUMNS, tell
from flows.studies.study import Raw, Study, as_method
from flows.workspace.children import Stopped
from flows.workspace.forkserver import forkserver
from flows.workspace.lock import TEMPORARY, occupied

WORKSPACES = TEMPORARY / "compare"
RESULTS = Path("reports/compare")
PARTS = ("src", "tasks", "flows", "data/sample", "dvc.yaml", ".dvcignore")
CELLS = ("evaluate", "evaluate-alone")
CONFIG = """[core]
    no_scm = true
    analytics = false
[cache]
    dir = {cache}
    type = reflink,hardlink,copy
"""


@flow(persist_result=False, retries=0)
def compare(name: str, study: Study, raw: dict[str, Any], about: list[str], command: str) -> State[None]:
    """Bring every cell of a study up to date, each seed in a workspace of its own, and write reports/compare/NAME.

    One workspace for all would be slow: DVC writes its whole lock file after every stage.

    Args:
        name: of the workspaces and of the results.
        study: the rows.
        raw: the content of params.yaml with the study in it.
        about: what the page says first, a sentence each.
        command: what repeats the comparison.

    Raises:
        Busy: the same comparison is running.
    """
    os.environ.setdefault(VARIABLE, str(SHARED.resolve()))  # the path is relative, and the workspaces lie elsewhere
    gpus = usable_gpus(raw["runtime"]["device"])
    with forkserver(len(raw["grid"]["seeds"]) + 1) as environment:
        verdict, raw, about, workspaces = _run_all(name, study, raw, about, Machine(gpus, environment))
    if verdict.is_completed():
        write_results(name, workspaces, study, raw, about, command)
        create_markdown_artifact((RESULTS / name / "table.md").read_text(encoding="utf-8"), key="comparison")
        create_link_artifact(report_address(RESULTS / name / "page.html"), key="report", link_text="The page")
    return verdict


def _run_all(
    name: str, study: Study, raw: Raw, about: list[str], machine: Machine
) -> tuple[State[None], Raw, list[str], list[Path]]:
    """Choose the methods' fields where the study wants that, then run its rows.

    Returns:
        how it ended; the parameters and what the page says first, with what was chosen; the workspaces.
    """
    pool: ThreadPoolTaskRunner[Any] = ThreadPoolTaskRunner(max_workers=raw["flow"]["max_parallel"])
    with pool, stopped_on_exit(machine.children):
        if (tuning := study.tuning(raw)) is not None:
            workspaces, verdict = _run_cells(name, tuning, machine, pool)
            if not verdict.is_completed():
                return verdict, raw, about, workspaces
            accuracies = _validation(workspaces)
            raw = study.tuned(raw, accuracies)
            about = [*about, chosen(raw, accuracies)]
        workspaces, verdict = _run_cells(name, raw, machine, pool)
    return verdict, raw, about, workspaces


def chosen(raw: Raw, accuracies: Mapping[str, float]) -> str:
    """What was chosen, and from what, in a sentence."""
    kept = [method for method in raw["grid"]["methods"] if method in accuracies]
    tried = ", ".join(f"{method} {percent(accuracy)} %" for method, accuracy in accuracies.items())
    return f"Chosen on validation, in the order of {BASELINE}: {', '.join(kept)}. Tried: {tried}."


def _run_cells(
    name: str, raw: Raw, machine: Machine, pool: ThreadPoolTaskRunner[Any]
) -> tuple[list[Path], State[None]]:
    """The workspaces of all seeds, their cells up to date if all went well."""
    workspaces = {f"seed {seed}": prepare(name, seed, raw) for seed in raw["grid"]["seeds"]}
    # Packed once; the other seeds find the data in the cache.
    data = _submit("data", next(iter(workspaces.values())), ["preprocess"], machine, pool)
    seeds = [_submit(seed, folder, CELLS, machine, pool, data) for seed, folder in workspaces.items()]
    for future in seeds:
        future.wait()
    verdict = judge(dict(zip(workspaces, (future.state for future in seeds), strict=True)))
    return list(workspaces.values()), verdict


def _validation(workspaces: Sequence[Path]) -> dict[str, float]:
    """Method -> the mean over the workspaces of its validation accuracy in the baseline's order."""
    from bss.evaluation.artifacts import metrics_of, tables_of
    from bss.evaluation.comparing.table import fused_runs

    runs = []
    for workspace in map(Workspace, workspaces):
        params = load(workspace.params)
        cells = [*params.cells, *params.alone]
        history = tables_of(workspace.run, "history", cells)
        runs.append(fused_runs(metrics_of(workspace, cells), history, params.train.keep))
    mean = pl.concat(runs).group_by("method", maintain_order=True).agg(pl.col("validation_accuracy").mean())
    return dict(mean.iter_rows())


@task(persist_result=False, cache_policy=NO_CACHE, retries=0)
def run_workspace(name: str, workspace: Path, stages: Sequence[str], machine: Machine) -> State[None]:
    """Bring stages of a workspace up to date, in a process of their own."""
    log, bar, last = get_run_logger(), ProgressBar(name), ""
    command = [sys.executable, "-m", "bss", "run", *stages]
    try:
        with machine.environment("train") as environment:
            environment["PYTHONPATH"] = str(workspace / "src")  # the code that was copied
            environment["COLUMNS"] = str(NUM_COLUMNS - len(f"{name}: "))
            with machine.children.run(command, environment, workspace) as output:
                for line in map(str.rstrip, output):
                    log.info(line)
                    if (ended := re.match(r" *(\d+)/(\d+) +(.*)", line)) is not None:
                        bar.show(Progress(int(ended[1]), int(ended[2]), ended[3]))
                    if ended or line.startswith(" " * 4):
                        tell(f"{name}: {line}")
                    last = line
    except (Stopped, CalledProcessError):
        return Cancelled() if machine.children.stopped else Failed(message=f"{name}: {last}")
    return Completed(message=last)


def prepare(name: str, seed: int, raw: Raw) -> Path:
    """The folder of a seed's workspace: this one's code and cache, the study's parameters.

    Raises:
        Busy: the same comparison is running.
    """
    source, workspace = Path.cwd(), (WORKSPACES / name / f"seed-{seed}").resolve()
    if not (workspace / ".dvc/config").is_file():
        workspace.mkdir(parents=True, exist_ok=True)
        write_text(CONFIG.format(cache=_cache()), workspace / ".dvc/config")
    own = {**raw, "grid": {**raw["grid"], "seeds": [seed]}, "flow": {**raw["flow"], "max_parallel": 1}}
    with chdir(workspace), occupied():
        for part in PARTS:
            shutil.rmtree(part, ignore_errors=True)
            copy = shutil.copytree if (source / part).is_dir() else shutil.copy2
            Path(part).parent.mkdir(parents=True, exist_ok=True)
            copy(source / part, part)
        (source / "data/raw").mkdir(parents=True, exist_ok=True)
        for part in ("data/raw", raw["raw"]):
            if not Path(part).exists():
                Path(part).parent.mkdir(parents=True, exist_ok=True)
                Path(part).symlink_to(source / part)
        write_text(yaml.safe_dump(own, sort_keys=False, allow_unicode=True), Path("params.yaml"))
    return workspace


def _submit(
    name: str, folder: Path, stages: Sequence[str], machine: Machine, pool: ThreadPoolTaskRunner[Any], *needed: Any
) -> PrefectFuture[Any]:
    named = run_workspace.with_options(name=name, task_run_name=name)
    parameters = {"name": name, "workspace": folder, "stages": stages, "machine": machine}
    return pool.submit(named, parameters, wait_for=needed)


def write_results(
    name: str, workspaces: Sequence[Path], study: Study, raw: Raw, about: Sequence[str], command: str
) -> None:
    """Write what the cells of all workspaces say together: table and page, and the report of the whole grid."""
    from bss.evaluation.comparing.table import comparison_table, fused_runs
    from bss.evaluation.grid.inputs import joined
    from bss.evaluation.grid.page import write_report
    from bss.evaluation.grid.reader import read_grid
    from bss.evaluation.study.comparison import Comparison
    from bss.evaluation.study.page import write_comparison

    grids = []
    for workspace in map(Workspace, workspaces):
        params = load(workspace.params)
        grids.append(read_grid(params, raw, workspace))
    grid, variants = joined(grids, command), study.variants()
    runs = fused_runs(grid.metrics, grid.history, params.train.keep)
    given = Comparison(
        name=name,
        runs=runs,
        about=tuple(about),
        dataset=grid.dataset,
        notes=grid.notes,
        num_pairs=grid.num_pairs,
        variants=variants,
        table=comparison_table(runs, variants, BASELINE, grid.confidence),
        baseline=BASELINE,
        confidence=grid.confidence,
        command=command,
        parameters=raw,
        rule=grid.rule,
        chosen_of={as_method(each): method for method, several in study.choices(raw).items() for each in several},
    )
    write_comparison(given, RESULTS / name)
    write_report(grid, RESULTS / name / "report.html")


def _cache() -> Path:
    from dvc.repo import Repo

    with Repo() as repo:
        return Path(repo.cache.local.path)
