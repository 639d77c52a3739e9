"""Workspaces that share a remote, and workers of a process pool in them."""

import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.helpers.workspace import Workspace

POOL = "machines"


def made(folder: Path, forkservers: Path, remote: Path | None = None, seeds: Sequence[int] = (0, 1)) -> Workspace:
    """A workspace with the smallest grid of these seeds."""
    workspace = Workspace(folder, forkservers)
    workspace.shrink()
    workspace.set(grid__seeds=[*seeds], grid__schedulers=["random"])
    if remote is not None:
        workspace.dvc("remote", "add", "--default", "shared", str(remote))
    return workspace


def make_pool() -> None:
    """Make the pool at the server of PREFECT_API_URL, as docs/scale.md does."""
    command = [sys.executable, "-m", "prefect", "work-pool", "create", "--type", "process", POOL]
    subprocess.run(command, check=True, capture_output=True)


@contextmanager
def working(*workspaces: Workspace) -> Iterator[list["subprocess.Popen[bytes]"]]:
    """A worker for each workspace; what it prints is in NAME.log beside the workspace."""
    command = [
        sys.executable,
        "-m",
        "prefect",
        "worker",
        "start",
        "--pool",
        POOL,
        "--type",
        "process",
        "--limit",
        "1",
    ]
    workers = [
        subprocess.Popen(
            command,
            cwd=workspace.folder,
            env=workspace.environment | {"BSS_WORKSPACE": str(workspace.folder)},
            stdout=log_of(workspace.folder).open("w"),
            stderr=subprocess.STDOUT,
        )
        for workspace in workspaces
    ]
    try:
        yield workers
    finally:
        for worker in workers:
            worker.terminate()
        for worker in workers:
            worker.wait(timeout=60)


def log_of(folder: Path) -> Path:
    """What the worker of a workspace prints."""
    return folder.with_suffix(".log")


def ran(printed: str) -> list[str]:
    """The stages that were computed, each as often as it was."""
    return re.findall(r"^ *\d+/\d+ Completed +(\S+)", printed, flags=re.MULTILINE)
