"""A process that a fork server starts, with what it printed."""

import os
import socket
import subprocess
from pathlib import Path

from flows.workspace.forkserver import FOLDER, fork
from tests.helpers import ROOT


def run(
    module: str, arguments: list[str], folder: Path, forkservers: Path | str, **environment: str
) -> "subprocess.CompletedProcess[str]":
    """Do what `python -m module arguments` does in a folder, with torch loaded already."""
    whole = os.environ | {FOLDER: str(forkservers)} | environment
    with (folder / "out").open("w+") as out, (folder / "err").open("w+") as err:
        process = fork("stage", module, arguments, folder, whole, [0, out.fileno(), err.fileno()])
        assert process is not None, "no server answers"
        status = process.wait()
    return subprocess.CompletedProcess([], status, (folder / "out").read_text(), (folder / "err").read_text())


def run_ranks(module: str, folder: Path, forkservers: Path, number: int = 2) -> None:
    """Have ranks do what `python -m module RANK PORT FOLDER` does, side by side; the port is a free one."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = os.environ | {FOLDER: str(forkservers), "PYTHONPATH": str(ROOT / "src")}
    ranks = [
        fork("stage", module, [str(rank), str(port), str(folder)], ROOT, environment, [0, 1, 2])
        for rank in range(number)
    ]
    assert [rank.wait() for rank in ranks if rank is not None] == [0] * number
