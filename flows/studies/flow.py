"""A study as a Prefect flow: its rows through the DVC matrix, then its tables and pages."""

import json
import os
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from prefect import flow
from prefect.artifacts import create_link_artifact, create_markdown_artifact
from prefect.client.schemas.objects import State

from bss.data.datasets._fetch import SHARED, VARIABLE
from flows.graph.flow import judge
from flows.graph.flow import run as run_planned
from flows.graph.machine import Machine, usable_gpus
from flows.graph.outcome import report_address
from flows.graph.plan import Planned, kind
from flows.studies.active_run import ActiveRun
from flows.studies.reproduce_run import ReproduceRun
from flows.studies.study_run import Repeat, Repeated, StudyRun
from flows.studies.workspaces import held, prepare, workspaces
from flows.workspace.forkserver import forkservers

OF_A_CELL = ("train", "acquire", "evaluate")


@flow(persist_result=False, retries=0)
def compare(run: StudyRun) -> State[None]:
    """Bring every cell of a study up to date, each seed in a workspace of its own, and write reports/compare/NAME.

    Raises:
        Busy: the same study is running.
    """
    os.environ.setdefault(VARIABLE, str(SHARED.resolve()))  # the path is relative, and the workspaces lie elsewhere
    machine = Machine(usable_gpus(run.params.runtime.device))
    with forkservers(len(run.params.cells) + 1), held(run):
        verdict, run = _run_all(run, machine)
    if verdict.is_completed():
        from flows.studies.results import write_results  # imports what draws pages, a second

        write_results(run)
        _publish(run, "comparison")
    return verdict


@flow(persist_result=False, retries=0)
def active(run: ActiveRun) -> State[None]:
    """Bring every curve of active learning up to date, each seed in a workspace of its own, and write its page.

    Raises:
        Busy: the same curves are being computed.
    """
    os.environ.setdefault(VARIABLE, str(SHARED.resolve()))
    machine = Machine(usable_gpus(run.params.runtime.device))
    num_curves = len(run.params.active.grid.acquisitions) * len(run.repeats)
    with forkservers(num_curves + 1), held(run):
        verdict = _run_cells(run, machine)
    if verdict.is_completed():
        from flows.studies.results import write_active

        write_active(run)
        _publish(run, "curves")
    return verdict


@flow(persist_result=False, retries=0)
def reproduce(run: ReproduceRun) -> State[None]:
    """Bring the rows of a paper up to date, each seed in a workspace of its own; the table has what there is by then.

    Raises:
        Busy: the same reproduction is running.
    """
    os.environ.setdefault(VARIABLE, str(SHARED.resolve()))
    machine = Machine(usable_gpus(run.params.runtime.device))
    with forkservers(len(run.rows) * len(run.repeats) + 1), held(run):
        try:
            verdict = _run_cells(run, machine)
        finally:
            from flows.studies.results import write_reproduced

            write_reproduced(run)
    _publish(run, "reproduction")
    return verdict


def _publish(run: Repeated, key: str) -> None:
    """Have Prefect show the table of a run, and the address of its page."""
    create_markdown_artifact((run.results / "table.md").read_text(encoding="utf-8"), key=key)
    create_link_artifact(report_address(run.page), key="report", link_text="The page")


def _run_all(run: StudyRun, machine: Machine) -> tuple[State[None], StudyRun]:
    """Choose the fields of methods where the study wants that, then run its rows.

    Returns:
        how it ended, and the run with what was chosen.
    """
    if (tuning := run.tuning()) is not None:
        tried = len(tuning.repeats) * len(tuning.params.grid.schedulers)
        num_later = len(run.choices) * (len(run.repeats) * len(run.params.grid.schedulers) - tried)
        if not (verdict := _run_cells(tuning, machine, num_later)).is_completed():
            return verdict, run
        from flows.studies.results import validation_accuracies

        run = run.tuned(validation_accuracies(tuning))
    return _run_cells(run, machine), run


def _run_cells(run: Repeated, machine: Machine, num_later: int = 0) -> State[None]:
    """Bring the cells of all repeats up to date; how that ended."""
    folders = {repeat: workspace.folder for repeat, workspace in workspaces(run).items()}
    for repeat, workspace in workspaces(run).items():
        prepare(workspace, run.of(repeat))
    max_parallel = run.params.max_parallel
    with ThreadPoolExecutor(max_parallel) as pool:
        plans = pool.map(lambda place: _plan(place[1], machine, run.targets(place[0])), folders.items())
        planned = _joined(dict(zip(folders, plans, strict=True)))
    return judge(run_planned(planned, machine, max_parallel, num_later=num_later))


def _plan(folder: Path, machine: Machine, targets: Sequence[str]) -> list[Planned]:
    """The plan of one workspace."""
    whole = Planned("plan", (), True, (), folder)
    with (
        machine.environment(whole) as environment,
        machine.children.run("flows.graph.plan", targets, environment, folder) as lines,
    ):
        *_, plan = lines
    return [Planned(name, tuple(upstream), stale, (name,), folder) for name, upstream, stale in json.loads(plan)]


def _joined(plans: dict[Repeat, list[Planned]]) -> list[Planned]:
    """All repeats in one plan: what the trainings of a repeat need is one process, and so is each of its cells.

    The data are packed once a fold, for its first seed; the others find them in the cache.
    """
    packers = {repeat.fold: repeat for repeat in reversed(plans)}
    joined = []
    for repeat, stages in plans.items():
        parts: dict[str, list[Planned]] = {}
        for stage in stages:
            parts.setdefault(_part(stage.name, repeat, packs=packers[repeat.fold] == repeat), []).append(stage)
        data = _of_fold("data", repeat)
        for name, several in parts.items():
            upstream = {data: (), str(repeat): (data,)}.get(name, (str(repeat),))
            stale = tuple(stage.name for stage in several if stage.stale)
            joined.append(Planned(name, upstream, bool(stale), stale, several[0].folder))
    return joined


def _part(stage: str, repeat: Repeat, *, packs: bool) -> str:
    """What a stage belongs to: the data, what the trainings of a repeat need, or a cell; a curve is one."""
    if kind(stage) in OF_A_CELL:
        return _of_fold(re.sub(r"-round\d+", "", stage.partition("@")[2]), repeat)
    return _of_fold("data", repeat) if packs and stage == "preprocess" else str(repeat)


def _of_fold(name: str, repeat: Repeat) -> str:
    return name if repeat.fold is None else f"{name}, fold {repeat.fold}"
