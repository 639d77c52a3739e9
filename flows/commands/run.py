"""The pipeline from the command line: `bss run [STAGE ...]`.

Nothing heavy is imported before params.yaml is checked. Exit: 0 all is up to date, 1 a stage failed, 2 wrong
input, 3 another run is at work here, 130 interrupted.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from bss.commands.completion import stages as names
from bss.errors import Busy, MissingInput
from bss.paths import HERE
from bss.registry import UnknownName
from flows.commands.exits import command, prepare_prefect, ready, show, succeeds
from flows.workspace.forkserver import forkservers
from flows.workspace.lifeline import end_with_parent
from flows.workspace.lock import occupied


def main(
    stages: Annotated[
        list[str] | None, typer.Argument(help="Run only these and what they need.", autocompletion=names)
    ] = None,
    verbose: Annotated[bool, typer.Option(help="Show the whole output of the stages.")] = False,
) -> None:
    """Bring the stages of this workspace up to date.

    They run side by side where the graph allows it; what is up to date is not run."""
    end_with_parent()
    command(lambda: run(stages or [], verbose))


def run(stages: list[str], verbose: bool) -> bool:
    """Run the flow, on a server of its own unless the user has one; whether all stages are up to date."""
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
        _show_report(stages)
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
        _show_report(stages)
    return succeeds(state)


def _show_report(stages: Sequence[str]) -> None:
    if not stages or "report" in stages:
        show(HERE.summary("txt"), HERE.report)
