"""What the commands of this folder share: how they end, what they print last, and Prefect's settings."""

import os
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from bss.errors import InputError
from bss.exits import exits
from bss.health import expect_no_obstacle
from bss.params import Params, load
from bss.paths import HERE

if TYPE_CHECKING:
    from flows.studies.study_run import Repeated


KEPT = "interrupted: the stages that had ended are in place, the others run next time"


def command(action: Callable[[], bool], interrupted: str = KEPT) -> None:
    """Run an action to its exit: 0 success, 1 failure, 2 wrong input, 3 a workspace in use, 130 interrupted.

    Args:
        action: whether it succeeded.
        interrupted: the message after Ctrl-C.
    """
    # A worker or a supervisor stops a run by SIGTERM: the same way out as Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with exits(interrupted):
        raise typer.Exit(0 if action() else 1)


def ready() -> Params:
    """The parameters of this workspace, in which nothing is in the way of a run.

    Raises:
        InputError: the parameters are wrong.
        Unavailable: something is in the way.
    """
    params = load(HERE.params)
    expect_no_obstacle(HERE)
    return params


def expect_name(name: str | None) -> None:
    """Expect a name of results, if there is one, to be the name of a folder.

    Raises:
        InputError: it is none.
    """
    if name is not None and not re.fullmatch(r"[\w.-]*\w[\w.-]*", name):
        raise InputError(f"--name {name!r}: expected letters, digits, '-', '_' and '.'")


def prepare_prefect(verbose: bool) -> None:
    """Set what Prefect reads when it is imported; what the user has set stays."""
    os.environ.setdefault("DO_NOT_TRACK", "1")
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
    if not verbose:  # only on the terminal: the logs of the runs are complete at the server
        os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")


def show(table: Path, page: Path) -> None:
    """Print a table and where its page lies, by its own name where it is a link into DVC's cache."""
    typer.echo(f"\n{table.read_text(encoding='utf-8').rstrip()}\n\nreport: {page.absolute()}")


def run_through_prefect(name: str, run: "Repeated", verbose: bool) -> bool:
    """Run a flow of `flows.studies.flow`, on a server of its own where there is none, and show its table.

    Args:
        name: of the flow.
        run: its argument.
        verbose: whether the whole output of the stages is shown.

    Returns:
        whether it is completed.
    """
    prepare_prefect(verbose)
    from flows.pages.server import start_if_needed

    server = start_if_needed()
    from flows.studies import flow  # imports Prefect, while the server starts

    if server is not None:
        server.wait()
    state = getattr(flow, name)(run, return_state=True)
    if state.is_completed():
        show(run.results / "table.txt", run.page)
    return succeeds(state)


def succeeds(state: Any) -> bool:
    """Print how a flow run ended; whether it is completed."""
    typer.echo(f"{state.name}: {state.message}")
    return bool(state.is_completed())
