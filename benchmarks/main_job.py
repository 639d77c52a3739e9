"""The main job once, from nothing, in a copy of the project: `python -m benchmarks.main_job FOLDER [--quick]`.

Prints each stage as it ends, the table and the seconds of the whole, and copies the report into the folder. Needs
neither git nor a repository.
"""

import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.__main__ import machine
from bss.paths import Workspace as Places
from tests.helpers.workspace import Workspace


def main(
    folder: Path, quick: Annotated[bool, typer.Option(help="The smallest grid that has every stage in it.")] = False
) -> None:
    """Run it; exits as the flow does."""
    with tempfile.TemporaryDirectory() as name:
        workspace = Workspace(Path(name) / "workspace", git=False)
        if quick:
            workspace.shrink()
        start = time.perf_counter()
        command = [sys.executable, "-m", "bss", "run"]
        done = subprocess.run(command, cwd=workspace.folder, env=workspace.environment, check=False)
        print(f"\n{time.perf_counter() - start:.0f} s for the main job, {machine()}", flush=True)
        if done.returncode == 0:
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy(Places(workspace.folder).report, folder)
    sys.exit(done.returncode)


if __name__ == "__main__":
    typer.run(main)
