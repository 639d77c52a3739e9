"""The pipeline from the command line: `bss run [STAGE ...] [KEY=VALUE ...]`.

Nothing heavy is imported before params.yaml is checked. Exit: 0 all is up to date, 1 a stage failed, 2 wrong
input, 3 another run is at work here, 130 interrupted.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bss.commands.completion import stages as names
from bss.errors import Busy, InputError, MissingInput
from bss.locks import held
from bss.parsing import setting
from bss.paths import HERE
from bss.preset import store
from bss.registry import UnknownName
from flows.commands.exits import command, prepare_prefect, ready, show, succeeds
from flows.commands.options import Settings, Verbose
from flows.workspace.forkserver import forkservers
from flows.workspace.lifeline import end_with_parent
from flows.workspace.lock import AT_WORK, occupied

if TYPE_CHECKING:
    from flows.studies.experiment import Experiment


def main(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="STAGE | KEY=VALUE",
            help="Only these stages and what they need; values instead of those of params.yaml.",
            autocompletion=names,
        ),
    ] = None,
    settings: Settings = None,
    name: Annotated[str | None, typer.Option(help="Have DVC keep the run as an experiment.")] = None,
    save: Annotated[bool, typer.Option("--save", help="Write the values to params.yaml first.")] = False,
    verbose: Verbose = False,
) -> None:
    """Bring the stages of this workspace up to date.

    They run side by side where the graph allows it; what is up to date is not run. With other values params.yaml and
    the results of this workspace stay as they are."""
    end_with_parent()
    stages = [word for word in words or () if "=" not in word]
    values = [*(word for word in words or () if "=" in word), *(settings or ())]
    command(lambda: start(stages, dict(map(setting, values)), name, save, verbose))


def start(stages: list[str], values: Mapping[str, Any], name: str | None, save: bool, verbose: bool) -> bool:
    """Run here; or, with other values or a name, in a workspace of its own. Whether all stages are up to date.

    Args:
        stages: as of `run`.
        values: dotted key -> the value instead of that of params.yaml.
        name: of the experiment that DVC keeps.
        save: whether the values are written to params.yaml.
        verbose: as of `run`.
    """
    if save and not values:
        raise InputError("--save: no KEY=VALUE is given that could be written to params.yaml")
    if save:
        ready()
        typer.echo("".join(f"params.yaml: {change}\n" for change in store(values, HERE.params)), nl=False)
        values = {}
    if not values and name is None:
        return run(stages, verbose)
    from flows.studies.experiment import Experiment

    return run_apart(Experiment.of(values, name), stages, verbose)


def run_apart(experiment: "Experiment", stages: list[str], verbose: bool) -> bool:
    """Run in the workspace of an experiment; whether all stages are up to date there."""
    ready()
    page = (experiment.results / HERE.report.name).absolute()  # the block works in another folder
    with apart(experiment):
        succeeded = run(stages, verbose, page)
    if succeeded:
        experiment.keep()
        if experiment.is_named:
            typer.echo(f"kept as the experiment {experiment.label}: bss diff HEAD {experiment.label}")
    return succeeded


@contextmanager
def apart(experiment: "Experiment") -> Iterator[None]:
    """Hold the workspace of an experiment and work in it, for the length of a block."""
    place = experiment.workspace.folder
    typer.echo(f"{HERE.params} stays as it is; this run works in {os.path.relpath(place)}")
    with held(place.with_name(f"{place.name}.lock"), AT_WORK.format(pid="{pid}", folder=place)), experiment.inside():
        yield


def run(stages: list[str], verbose: bool, page: Path = HERE.report) -> bool:
    """Run the flow, on a server of its own unless the user has one; whether all stages are up to date.

    Args:
        stages: only these and what they need; all of them by default.
        verbose: whether the whole output of the stages is shown.
        page: where the reader finds the report.
    """
    params = ready()
    for path in (Path(params.raw), *params.preprocess.inputs):
        if not path.exists():
            raise MissingInput(f"{path}, which params.yaml names, is missing (`dvc pull`, if DVC has it)")
    for stage in stages:  # a misspelt one in the first second; `check` knows the cells as well
        if (known := names("")) and stage.partition("@")[0] not in known:
            raise UnknownName("stage", stage, known)
    from flows.graph.plan import counted, plan
    from flows.workspace.repair import repair

    with occupied():
        repair()
        planned = plan(stages)
    num_stale = sum(stage.stale for stage in planned)
    prepare_prefect(verbose)
    from flows.pages.server import has_server, start_if_needed

    if not num_stale and not has_server():  # nobody would see the run
        typer.echo(counted(planned))
        _show_report(stages, page)
        return True
    with forkservers(num_stale):
        server = start_if_needed()
        from flows.graph.flow import pipeline

        if server is not None:
            server.wait()
        state = pipeline(stages, return_state=True)
    if state.is_failed() and isinstance(error := state.result(raise_on_failure=False), Busy):
        raise error
    if state.is_completed():
        _show_report(stages, page)
    return succeeds(state)


def _show_report(stages: Sequence[str], page: Path) -> None:
    if not stages or "report" in stages:
        show(HERE.summary("txt"), page)
