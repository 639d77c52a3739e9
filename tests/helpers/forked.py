"""A process that a fork server starts, with what it printed."""

import os
import subprocess
from pathlib import Path

from flows.workspace.forkserver import FOLDER, fork


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
