"""Whether a training gives the same bytes again, also after it was killed; on the GPU where there is one.

One cell of the embedded digits, each time in a process of its own. Killed is as the kernel does it, after an epoch.
"""

import hashlib
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.figures import Figure
from bss.paths import Cell
from bss.paths import Workspace as Places
from tests.helpers.workspace import Workspace

CELL = Cell("joint", "learned", 0)
BEFORE = (
    ("preprocess",),
    ("methods",),
    ("warmup", "--seed", "0"),
    ("score", "--seed", "0"),
    ("curriculum", "--scheduler", CELL.scheduler, "--seed", "0"),
)
TRAIN = ("train", "--method", CELL.method, "--scheduler", CELL.scheduler, "--seed", "0")


def measure(quick: bool = False) -> Iterator[Figure]:
    """Seconds of the training, and the files that differ."""
    with tempfile.TemporaryDirectory() as name:
        workspace = Workspace(Path(name) / "workspace", git=False)
        if quick:
            workspace.shrink()
            workspace.set(train__epochs=3)
        for stage in BEFORE:
            workspace.run(*_command(*stage))
        start = time.perf_counter()
        whole = _trained(workspace)
        yield Figure("a training, with the start of its process", [time.perf_counter() - start], " s")
        yield _differing("files of a second training that differ", whole, _trained(workspace))
        _kill(workspace)
        yield _differing("files that differ after a training was killed", whole, _trained(workspace))


def _trained(workspace: Workspace) -> dict[str, str]:
    """The SHA-256 of all that a training leaves."""
    folder = Places(workspace.folder).run(CELL)
    shutil.rmtree(folder, ignore_errors=True)
    workspace.run(*_command(*TRAIN))
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def _kill(workspace: Workspace) -> None:
    """Start the training, and kill it as soon as it has written a checkpoint."""
    places = Places(workspace.folder)
    shutil.rmtree(places.run(CELL))
    process = subprocess.Popen(_command(*TRAIN), cwd=workspace.folder, env=workspace.environment)
    while not list(places.checkpoints.glob(f"{CELL}/*/*.safetensors")):
        if process.poll() is not None:
            raise RuntimeError("the training ended before it had written a checkpoint")
        time.sleep(0.005)
    process.kill()
    process.wait()
    if places.run(CELL).exists():
        raise RuntimeError("the training ended before it was killed")


def _differing(what: str, one: dict[str, str], other: dict[str, str]) -> Figure:
    differing = [name for name in one.keys() | other.keys() if one.get(name) != other.get(name)]
    return Figure(what, [len(differing)], f" of {len(one)}", ("at most", 0))


def _command(stage: str, *arguments: str) -> tuple[str, ...]:
    return sys.executable, "-m", f"tasks.{stage}", *arguments
