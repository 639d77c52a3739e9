"""A PostgreSQL server of a test, in a folder of its own."""

import getpass
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

USER = "postgres" if os.geteuid() == 0 else getpass.getuser()
"""Whose server it is: PostgreSQL refuses to be that of root."""
# Debian has them outside of PATH.
PROGRAMS = os.pathsep.join([os.environ["PATH"], *map(str, Path("/usr/lib/postgresql").glob("*/bin"))])


@dataclass(frozen=True)
class Postgres:
    """A server with a data base `prefect` of a user `prefect`, whom it asks for no password."""

    folder: Path
    port: int

    def start(self) -> None:
        """Return when it answers."""
        options = f"-p {self.port} -k {self.folder} -c listen_addresses=127.0.0.1"
        self.control("start", "-w", "-o", options, "-l", str(self.folder / "log"))

    def control(self, action: str, *options: str) -> None:
        run("pg_ctl", "-D", str(self.folder / "data"), action, *options)


@contextmanager
def postgres() -> Iterator[Postgres]:
    """A server for the length of a block."""
    with tempfile.TemporaryDirectory(prefix="postgres-") as folder:
        shutil.chown(folder, USER)
        server = Postgres(Path(folder), free_port())
        run("initdb", "-D", f"{folder}/data", "-U", "prefect", "-A", "trust")
        server.start()
        try:
            run("createdb", "-h", "127.0.0.1", "-p", str(server.port), "-U", "prefect", "prefect")
            yield server
        finally:
            server.control("stop", "-m", "immediate")


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def is_installed() -> bool:
    """Whether its programs are here."""
    return shutil.which("initdb", path=PROGRAMS) is not None


def run(program: str, *arguments: str) -> None:
    # What the server prints must not keep a pipe of ours open.
    subprocess.run(
        [program, *arguments], check=True, user=USER, cwd="/", env={"PATH": PROGRAMS}, stdout=subprocess.DEVNULL
    )
