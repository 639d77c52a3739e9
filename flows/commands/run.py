"""The pipeline from the command line: `bss run [STAGE ...]`.

Nothing heavy is imported before params.yaml is checked. Exit: 0 all is up to date, 1 a stage failed, 2 wrong
input, 3 another run is at work here, 130 interrupted.
"""

from pathlib import Path
from typing import Annotated

import typer

from bss.commands.completion import stages as names
from bss.errors import Busy, MissingInput
from bss.params import load
from bss.paths import HERE
from bss.registry import UnknownName
from flows.commands.exits import command, prepare_prefect, show, succeeds
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
    params = load(HERE.params)
    for path in (Path(params.raw), *params.preprocess.inputs):
        if not path.exists():
            raise MissingInput(f"{path}, which params.yaml names, is missing (`dvc pull`, if DVC has it)")
    for stage in stages:  # a misspelt one in the first second; `check` knows the cells as well
        if (known := names("")) and stage.partition("@")[0] not in known:
            raise UnknownName("stage", stage, known)
    with occupied():
        pass
    prepare_prefect(verbose)
    from flows.pages.server import start_if_needed

    server = start_if_needed()
    from flows.graph.flow import pipeline
    from flows.graph.plan import check
    from flows.workspace.repair import repair

    with occupied():
        repair()
        check(stages)  # a wrong target is refused while the server starts
    if server is not None:
        server.wait()
    state = pipeline(stages, return_state=True)
    if state.is_failed() and isinstance(error := state.result(raise_on_failure=False), Busy):
        raise error
    if state.is_completed() and (not stages or "report" in stages):
        show(HERE.summary("txt"), HERE.report)
    return succeeds(state)
