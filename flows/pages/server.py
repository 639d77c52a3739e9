"""A Prefect server for the length of one run or of `make ui`, unless the user has one.

Prefect starts one by itself, but only after loading the whole server into this process (3 s), waits for it
idly (6 s), and has it die of the same Ctrl-C as the flow, which then cannot report its end.
"""

import atexit
import os
import re
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import IO, Self

from bss.errors import Unavailable
from flows.pages import application
from flows.workspace.environment import set_aside, without_settings

START_SECONDS = 120.0
SECONDS_TO_EXPLAIN = 5.0
NUM_LAST_LINES = 12
EXCEPTION = re.compile(r"^[\w.]+(?:Error|Exception|Exit)\b.*", re.MULTILINE)
"""The line of a traceback that says what went wrong."""
HOST = "127.0.0.1"
HOME = Path(".prefect")
"""What Prefect keeps for this workspace, outside of git: data bases and pages of the servers that are our own."""
ADDRESS = HOME / "api"
"""The address of the API of the server of `make ui`, as text, while that is open."""
PORT = 4200
"""Where `make ui` is, unless asked for another."""
PLACES_OF_SETTINGS = (
    "$PREFECT_PROFILES_PATH",
    "$PREFECT_HOME/profiles.toml",
    "~/.prefect/profiles.toml",
    "prefect.toml",
    "pyproject.toml",
    ".env",
)
"""Where Prefect looks for settings."""
ONE_RUN = {"PREFECT__SERVER_EPHEMERAL": "1", "PREFECT_UI_ENABLED": "0"}
SETTINGS = {
    "DO_NOT_TRACK": "1",
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
    home: Path
    """The folder of its data base."""

    @classmethod
    def start(cls, settings: Mapping[str, str] = ONE_RUN, port: int = 0, home: Path = HOME) -> Self:
        """Start a server on this port, or on a free one where it is taken. Only these settings reach it.

        Args:
            settings: variables of Prefect.
            port: 0 is a free one.
            home: the folder of its data base.
        """
        log = tempfile.TemporaryFile("w+")  # noqa: SIM115 - open as long as the server writes
        home.mkdir(parents=True, exist_ok=True)
        with _listener(port) as listener:
            url = f"http://{HOST}:{listener.getsockname()[1]}/api"
            return cls(_spawn(listener.fileno(), log.fileno(), settings, home.resolve()), url, log, home)

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
            with httpx.Client(trust_env=False, timeout=START_SECONDS) as client:
                client.get(f"{self.url}/health").raise_for_status()
        except httpx.HTTPError as error:
            raise Unavailable(
                f"the Prefect server did not start: {self._reason() or error}\n"
                f"Without the data base in {self.home} it begins anew; no result is lost by that."
            ) from error

    def _reason(self) -> str:
        """The error that ended it, or what it printed last."""
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(SECONDS_TO_EXPLAIN)
        self.log.seek(0)
        printed = self.log.read().strip()
        errors = EXCEPTION.findall(printed)
        return str(errors[-1]) if errors else "\n".join(printed.splitlines()[-NUM_LAST_LINES:])

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
    set_aside()
    server = Server.start(settings, port)
    # Prefect sends its last logs and events when its threads end, which is before functions of atexit run.
    atexit.register(server.stop)
    use(server.url)
    return server


def use(url: str) -> None:
    """Have Prefect ask this server of ours, on this machine, here and in what is started from here.

    What the user has set for the network and for other servers is set aside.
    """
    set_aside()
    os.environ |= {**_places(HOME.resolve()), "PREFECT_API_URL": url, "PREFECT_API_SSL_CERT_FILE": ""}
    from prefect.context import refresh_global_settings_context

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


def environment(settings: Mapping[str, str], home: Path) -> dict[str, str]:
    """The environment of a server: nothing of it is of the user's network or of other servers."""
    # Named after its version: a newer Prefect changes a data base so that an older one refuses it.
    base = home / f"runs-{version('prefect')}.db"
    return {
        **without_settings(os.environ),
        **SETTINGS,
        **_places(home),
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{base}",
        **settings,
    }


def _places(home: Path) -> dict[str, str]:
    """Where Prefect keeps its things, and settings that it does not find there."""
    return {
        "PREFECT_HOME": str(home),
        "PREFECT_PROFILES_PATH": str(home / "profiles.toml"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    }


def _spawn(listener: int, log: int, settings: Mapping[str, str], home: Path) -> subprocess.Popen[bytes]:
    # The server inherits a socket that listens already: no port is lost to a race, and requests wait until it
    # is there. In a session of its own, Ctrl-C does not reach it.
    return subprocess.Popen(
        [sys.executable, "-P", str(Path(application.__file__).resolve()), str(listener)],
        env=environment(settings, home),
        cwd=home,  # where no prefect.toml or .env is
        pass_fds=[listener],
        stdin=subprocess.PIPE,
        stdout=log,
        stderr=log,
        start_new_session=True,
    )
