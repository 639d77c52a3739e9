"""Prefect's pages for this workspace: `bss ui`, or `make ui`.

A server, the deployments of prefect.yaml and a worker that runs them here, until Ctrl-C. A server that
PREFECT_API_URL names is used as it is. Exit: 130 interrupted, 1 a part of it ended by itself, 2 wrong input,
3 it is open in this workspace already.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bss.errors import MissingInput, Unavailable
from bss.locks import held
from bss.paths import HERE
from flows.commands.exits import command, prepare_prefect, ready
from flows.pages.application import REPORTS
from flows.pages.configuration import definitions
from flows.pages.server import ADDRESS, HOME, HOST, PORT, check, start_if_needed
from flows.workspace.lifeline import end_with_parent

if TYPE_CHECKING:
    from flows.pages.server import Server

LOCK = HOME / "ui.lock"
SECONDS_BETWEEN_LOOKS = 1.0


def main(
    port: Annotated[int, typer.Option(min=0, max=65535, help="Of the server; a free one where it is taken.")] = PORT,
) -> None:
    """Start Prefect's pages, the deployments and a worker.

    Ctrl-C ends them.
    """
    end_with_parent()
    command(lambda: run(port))


def run(port: int) -> bool:
    """Stay until one of the parts ends, which none of them should."""
    ready()
    settings = definitions()
    with ExitStack() as stack:
        stack.enter_context(_open_once())
        prepare_prefect(verbose=False)
        typer.echo("starting the server, the deployments and a worker ...")
        server = _own_server(port)
        if server is not None:
            server.wait()
        check()
        from flows.pages.deploy import deploy, end_lost_runs

        if server is not None:
            end_lost_runs(settings.pool.name)
            stack.enter_context(_address_file(server.url))
        deployments = deploy(settings)
        from flows.pages.worker import worker

        reports = f"{server.pages}/reports" if server else None
        running = stack.enter_context(worker(settings.pool.name, reports, LOCK))
        _welcome(server, deployments)
        while server is None or server.process.poll() is None:
            running.check()
            time.sleep(SECONDS_BETWEEN_LOOKS)
    raise Unavailable("the Prefect server has ended")


def _own_server(port: int) -> "Server | None":
    """A server for this workspace, which Prefect uses from now on; None where the user's settings name one."""
    folder = HOME.resolve()
    settings = {
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{folder / 'prefect.db'}",
        "PREFECT_SERVER_DATABASE_TIMEOUT": "60",  # SQLite has one writer, and on a busy machine the others wait
        "PREFECT_SERVER_DATABASE_CONNECTION_TIMEOUT": "60",
        "PREFECT_UI_STATIC_DIRECTORY": str(folder / "pages"),
        "PREFECT_UI_API_URL": "/api",  # so that a tunnel may have another port
        "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
        # A deployment is a program: no page of another site that the user has open may make one.
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": f"http://{HOST}",
        "PREFECT_SERVER_CSRF_PROTECTION_ENABLED": "true",
        REPORTS: str(HERE.reports.resolve()),
    }
    return start_if_needed(settings, port)


@contextmanager
def _address_file(address: str) -> Iterator[None]:
    """The address of the server in a file, for `bss watch`."""
    ADDRESS.write_text(address, encoding="utf-8")
    try:
        yield
    finally:
        ADDRESS.unlink(missing_ok=True)


def _welcome(server: "Server | None", deployments: Mapping[str, str]) -> None:
    from prefect.settings import get_current_settings

    address = server.pages if server else get_current_settings().ui_url
    lines = [f"  {name:<18} {text}" for name, text in sorted(deployments.items())]
    typer.echo("\n".join([f"open {address}", "deployments:", *lines, "Ctrl-C ends it all"]))


@contextmanager
def _open_once() -> Iterator[None]:
    """Refuse a second `bss ui` here: two servers would share the data base, and two workers the runs."""
    if not HERE.temporary.parent.is_dir():
        raise MissingInput(f"{Path.cwd()} has no .dvc folder; run in the folder that holds dvc.yaml")
    with held(LOCK, f"process {{pid}} shows the pages in {Path.cwd()}; wait for it or stop it"):
        yield
