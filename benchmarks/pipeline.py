"""The default grid of `make run`, its stages forked from one process or each started by itself; and a no-op."""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.figures import Figure, ratios
from flows.pages.server import Server
from tests.helpers.faults import begin_anew
from tests.helpers.workspace import Workspace

FLOW = ("-m", "bss", "run")
ALONE = (
    "-c",
    "from contextlib import nullcontext\n"
    "import typer\n"
    "from flows.commands import run\n"
    "from flows.graph import flow\n"
    "run.forkservers = flow.forkservers = lambda num_stages: nullcontext()\n"
    "typer.run(run.main)",
)
REPRO = ("-m", "dvc", "repro")


def measure(quick: bool = False) -> list[Figure]:
    """The whole pipeline anew each time, in turns, on one Prefect server; then again where nothing has changed."""
    with tempfile.TemporaryDirectory() as name:
        workspace = Workspace(Path(name) / "workspace")
        if quick:
            workspace.shrink()
        server = Server.start()
        try:
            server.wait()
            return _figures(workspace, {"PREFECT_API_URL": server.url}, 1 if quick else 2)
        finally:
            server.stop()


def _figures(workspace: Workspace, environment: dict[str, str], rounds: int) -> list[Figure]:
    seconds: dict[str, list[float]] = {"forked": [], "alone": []}
    for _ in range(rounds):
        for name, command in (("alone", ALONE), ("forked", FLOW)):
            begin_anew(workspace)
            seconds[name].append(_seconds(workspace, command, environment))
    idle = {
        command: [_seconds(workspace, command, environment) for _ in range(1 + 2 * rounds)]
        for command in (REPRO, FLOW)
    }
    return [
        Figure("the grid, a process started for each stage", seconds["alone"], " s"),
        Figure("the grid, stages forked from one process", seconds["forked"], " s"),
        Figure("forked / started", ratios(seconds["forked"], seconds["alone"]), "", ("at most", 0.6)),
        Figure("`dvc repro`, nothing to do", idle[REPRO], " s", ("at most", 3)),
        Figure("the flow, nothing to do, on a running server", idle[FLOW], " s", ("at most", 5)),
    ]


def _seconds(workspace: Workspace, command: tuple[str, ...], environment: dict[str, str]) -> float:
    start = time.perf_counter()
    subprocess.run(
        [sys.executable, *command],
        cwd=workspace.folder,
        env=workspace.environment | environment,
        stdout=subprocess.DEVNULL,
        check=True,
    )
    return time.perf_counter() - start
