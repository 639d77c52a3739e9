"""The pipeline from the command line: `python -m flows.pipeline [STAGE ...]`.

Nothing heavy is imported before params.yaml is checked. Exit: 0 all is up to date, 1 a stage failed, 2 wrong
input, 3 another run is at work here, 130 interrupted.
"""

import os
import signal
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from bss.params import load
from flows.workspace import Busy, occupied


def main(
    stages: Annotated[list[str] | None, typer.Argument(help="Run only these and what they need.")] = None,
    verbose: Annotated[bool, typer.Option(help="Show the whole output of the stages.")] = False,
) -> None:
    """Bring the stages of this workspace up to date, side by side where the graph allows it."""
    # A worker or a supervisor stops a run by SIGTERM: the same way out as Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        load(Path("params.yaml"))
        with occupied():
            pass
        prepare_prefect(verbose)
        succeeded = run(stages or [])
    except (ValueError, FileNotFoundError) as error:
        leave(str(error), 2)
    except Busy as error:
        leave(str(error), 3)
    except RuntimeError as error:  # no Prefect server
        leave(str(error), 1)
    except KeyboardInterrupt:
        leave("interrupted: the stages that had ended are in place, the others run next time", 130)
    raise typer.Exit(0 if succeeded else 1)


def prepare_prefect(verbose: bool) -> None:
    """Set what Prefect reads when it is imported; what the user has set stays."""
    os.environ.setdefault("DO_NOT_TRACK", "1")
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
    if not verbose:  # only on the terminal: the logs of the runs are complete at the server
        os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")


def run(stages: list[str]) -> bool:
    """Run the flow, on a server of its own unless the user has one; whether all stages are up to date."""
    from flows.server import start_if_needed

    server = start_if_needed()
    from flows.graph import pipeline
    from flows.plan import plan

    plan(stages)  # a wrong target is refused while the server starts
    if server is not None:
        server.wait()
    state = pipeline(stages, return_state=True)
    typer.echo(f"{state.name}: {state.message}")
    return state.is_completed()


def leave(message: str, code: int) -> NoReturn:
    """Say on stderr why nothing more happens, and exit."""
    typer.echo(message, err=True)
    raise typer.Exit(code)


if __name__ == "__main__":
    typer.run(main)
