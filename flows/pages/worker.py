"""The Prefect worker of a workspace: a child process that is started again after it was killed."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from bss.errors import Unavailable
from flows.graph.outcome import REPORTS_URL
from flows.machines.pool import WORKSPACE
from flows.pages.automations import HEARTBEAT_SECONDS
from flows.pages.deploy import import_path
from flows.pages.turns import OPEN
from flows.workspace.lifeline import VARIABLE

SECONDS_TO_END = 20.0
SECONDS_TO_TELL = 3.0
SECONDS_TO_PROVE_ITSELF = 20.0
QUERY_SECONDS = 5


class Worker:
    """A Prefect worker and the runs that it has started, in a session of their own."""

    def __init__(self, pool: str, environment: dict[str, str]) -> None:
        self._pool, self._environment = pool, environment
        self._start()

    def check(self) -> None:
        """Start it again where it has ended.

        Raises:
            Unavailable: it ended by itself right after its start.
        """
        if (status := self._process.poll()) is None:
            return
        if status > 0 and time.monotonic() < self._started + SECONDS_TO_PROVE_ITSELF:  # not killed
            raise Unavailable(f"the worker ended with {status} right after its start")
        print(f"the worker ended with {status}: another is started", flush=True)
        self._start()

    def stop(self) -> None:
        """End its runs, by force after some seconds, and it."""
        with suppress(psutil.NoSuchProcess):
            runs = psutil.Process(self._process.pid).children(recursive=True)
            self._signal(signal.SIGTERM)
            _, unwilling = psutil.wait_procs(runs, timeout=SECONDS_TO_END)
            for process in unwilling:
                process.kill()
            with suppress(subprocess.TimeoutExpired):  # it tells the server how they ended; without any it may linger
                self._process.wait(timeout=SECONDS_TO_TELL)
        self._signal(signal.SIGKILL)
        self._process.wait()

    def _start(self) -> None:
        self._started = time.monotonic()
        command = [
            sys.executable,
            "-m",
            "flows.workspace.lifeline",
            "prefect",
            "worker",
            "start",
            "--type",
            "process",
        ]
        self._process = subprocess.Popen(
            [*command, "--pool", self._pool, "--name", Path.cwd().name],
            env=self._environment,
            stdin=subprocess.PIPE,  # nothing comes through it but its end
            start_new_session=True,
        )

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)


@contextmanager
def worker(pool: str, reports: str | None, lock: Path) -> Iterator[Worker]:
    """A worker for the length of a block; its runs work in the current folder.

    Args:
        pool: the name of its work pool.
        reports: the address at which a server shows the folder of the reports.
        lock: a file that is locked for the length of the block.
    """
    needed = {VARIABLE: "1", WORKSPACE: str(Path.cwd()), OPEN: str(lock.resolve()), "PYTHONPATH": import_path()}
    defaults = {
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(HEARTBEAT_SECONDS),
        "PREFECT_WORKER_QUERY_SECONDS": str(QUERY_SECONDS),
    }
    running = Worker(pool, {**defaults, **os.environ, **needed, **({REPORTS_URL: reports} if reports else {})})
    try:
        yield running
    finally:
        running.stop()
