"""Child processes that can all be stopped at once, and that end with this process however it ends."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from flows.workspace.forkserver import Fork, fork
from flows.workspace.lifeline import VARIABLE

Process = Fork | subprocess.Popen[bytes]


class Stopped(RuntimeError):
    """No more children are started: the run is being stopped."""


class Children:
    """The running children, each in a session of its own, so that what it started goes down with it."""

    def __init__(self) -> None:
        self.stopped = False
        self._running: set[Process] = set()
        self._lock = threading.Lock()

    @contextmanager
    def run(
        self, module: str, arguments: Sequence[str], environment: Mapping[str, str], folder: Path | None = None
    ) -> Iterator[IO[str]]:
        """Start `python -m module arguments`; the lines that it writes. At the end of the block it has ended.

        It works in `folder`, or where this process does.

        Raises:
            Stopped: `stop` was called before.
            CalledProcessError: the child did not exit with 0.
        """
        with self._lock:
            if self.stopped:
                raise Stopped
            process, lines, lifeline = _start(module, arguments, environment, folder or Path.cwd())
            self._running.add(process)
        with lines:
            try:
                yield lines
            except BaseException:
                _signal([process], signal.SIGKILL)
                raise
            finally:
                status = process.wait()
                os.close(lifeline)
                with self._lock:
                    self._running.discard(process)
        if status:
            raise subprocess.CalledProcessError(status, [module, *arguments])

    def stop(self, grace: float = 10.0) -> None:
        """End all children and what they started: by SIGTERM, after `grace` seconds by SIGKILL."""
        with self._lock:
            self.stopped = True
            running = list(self._running)
        deadline = time.monotonic() + grace
        try:
            _signal(running, signal.SIGTERM)
            while any(map(_is_alive, running)) and time.monotonic() < deadline:
                time.sleep(0.1)
        finally:
            _signal(running, signal.SIGKILL)


def _start(
    module: str, arguments: Sequence[str], environment: Mapping[str, str], folder: Path
) -> tuple[Process, IO[str], int]:
    """The child, what it writes, and the end of a pipe that it reads: nothing comes through that but its end."""
    line, lifeline = os.pipe()
    read, write = os.pipe()
    environment = {**environment, VARIABLE: "1"}
    process: Process = fork("dvc", module, arguments, folder, environment, [line, write, write]) or subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        env=environment,
        cwd=folder,
        stdin=line,
        stdout=write,
        stderr=write,
        start_new_session=True,
    )
    os.close(line)
    os.close(write)
    return process, open(read, encoding="utf-8", errors="replace"), lifeline  # noqa: PTH123


def _signal(processes: Sequence[Process], number: signal.Signals) -> None:
    for process in processes:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)


def _is_alive(process: Process) -> bool:
    process.poll()  # a child that nobody waited for would count as a member of its group
    try:
        os.killpg(process.pid, 0)
    except ProcessLookupError:
        return False
    return True
