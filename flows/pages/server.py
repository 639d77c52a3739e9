"""A Prefect server for the length of one run or of `make ui`, unless the user has one.

Prefect starts one by itself, but only after loading the whole server into this process (3 s), waits for it
idly (6 s), and has it die of the same Ctrl-C as the flow, which then cannot report its end.
"""

import atexit
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Self

from bss.errors import Unavailable

START_SECONDS = 120.0
HOST = "127.0.0.1"
REPORTS = "BSS_REPORTS"
"""The variable with the folder that the server shows under /reports."""
PLACES_OF_SETTINGS = (
    "$PREFECT_HOME/profiles.toml",
    "~/.prefect/profiles.toml",
    "prefect.toml",
    "pyproject.toml",
    ".env",
)
"""Where Prefect looks for settings."""
ONE_RUN = {"PREFECT__SERVER_EPHEMERAL": "1", "PREFECT_UI_ENABLED": "0"}
SETTINGS = {
    "PREFECT__SERVER_FINAL": "1",
    # Task runs are written many at a time: one by one, the last of a short run are lost when the server ends.
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "200",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "1",
}


@dataclass(frozen=True)
class Server:
    """A server process, the address of its API, and what it prints."""

    process: subprocess.Popen[bytes]
    url: str
    log: IO[str]

    @classmethod
    def start(cls, settings: Mapping[str, str] = ONE_RUN, port: int = 0) -> Self:
        """Start a server on this port, or on a free one where it is taken; its database lies in PREFECT_HOME."""
        log = tempfile.TemporaryFile("w+")  # noqa: SIM115 - open as long as the server writes
        with _listener(port) as listener:
            url = f"http://{HOST}:{listener.getsockname()[1]}/api"
            return cls(_spawn(listener.fileno(), log.fileno(), settings), url, log)

    @property
    def pages(self) -> str:
        """The address of its pages."""
        return self.url.removesuffix("/api")

    def wait(self) -> None:
        """Return when the server answers.

        Raises:
            Unavailable: it did not come up; the message has its last words.
        """
        import httpx

        try:
            httpx.get(f"{self.url}/health", timeout=START_SECONDS).raise_for_status()
        except httpx.HTTPError as error:
            self.log.seek(0)
            raise Unavailable(f"the Prefect server did not start: {error}\n{self.log.read()[-2000:]}") from error

    def stop(self) -> None:
        """End the server, by force after some seconds."""
        self.process.terminate()
        try:
            self.process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def has_server() -> bool:
    """Whether the user's settings name a server; Prefect, which takes a second to import, is asked if any may."""
    if "PREFECT_API_URL" not in os.environ and not any(map(_sets_prefect, PLACES_OF_SETTINGS)):
        return False
    from prefect.settings import get_current_settings

    return bool(get_current_settings().api.url)


def _sets_prefect(place: str) -> bool:
    path = Path(os.path.expandvars(place)).expanduser()
    if not path.is_file():
        return False
    return path.name != "pyproject.toml" or "tool.prefect" in path.read_text(encoding="utf-8")


def start_if_needed(settings: Mapping[str, str] = ONE_RUN, port: int = 0) -> Server | None:
    """A server that Prefect uses from now on and that ends with this process.

    None where the user's settings name a server.
    """
    if has_server():
        return None
    server = Server.start(settings, port)
    # Prefect sends its last logs and events when its threads end, which is before functions of atexit run.
    atexit.register(server.stop)
    use(server.url)
    return server


def use(url: str) -> None:
    """Have Prefect ask this server, on this machine, here and in what is started from here."""
    from prefect.context import refresh_global_settings_context

    direct = os.environ.get("no_proxy") or os.environ.get("NO_PROXY")
    os.environ["no_proxy"] = os.environ["NO_PROXY"] = ",".join(filter(None, [direct, HOST]))  # a proxy is elsewhere
    os.environ["PREFECT_API_URL"] = url
    refresh_global_settings_context()


def check() -> None:
    """Refuse to go on without the server of Prefect's settings.

    Raises:
        Unavailable: it does not answer.
    """
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        if client.api_healthcheck() is not None:
            raise Unavailable(
                f"no server answers at {client.api_url}; where PREFECT_API_URL is not set, make ui starts one"
            )


def _listener(port: int) -> socket.socket:
    try:
        return socket.create_server((HOST, port))
    except OSError:
        return socket.create_server((HOST, 0))


def _spawn(listener: int, log: int, settings: Mapping[str, str]) -> subprocess.Popen[bytes]:
    # The server inherits a socket that listens already: no port is lost to a race, and requests wait until it
    # is there. In a session of its own, Ctrl-C does not reach it.
    return subprocess.Popen(
        [sys.executable, "-P", __file__, str(listener)],
        env={**SETTINGS, **settings, **os.environ},
        pass_fds=[listener],
        stdin=subprocess.PIPE,
        stdout=log,
        stderr=log,
        start_new_session=True,
    )


def _serve(listener: int) -> None:
    import uvicorn

    threading.Thread(target=_end_with_parent, daemon=True).start()
    uvicorn.run(_application, factory=True, fd=listener, log_level="error")


def _application() -> Any:
    from prefect.server.api.server import create_app
    from starlette.routing import Mount
    from starlette.staticfiles import StaticFiles

    application = create_app()
    if (folder := os.environ.get(REPORTS)) is not None:
        pages = StaticFiles(directory=folder, check_dir=False)  # they may come later
        application.router.routes.insert(0, Mount("/reports", pages))  # before the UI, which takes every address
    return application


def _end_with_parent() -> None:
    """End when standard input does, which is with the parent, even where that was killed."""
    sys.stdin.read()
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    _serve(int(sys.argv[1]))
