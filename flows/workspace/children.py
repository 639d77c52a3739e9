"""Child processes that can all be stopped at once, and that end with this process however it ends."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, cast

from flows.workspace.lifeline import VARIABLE


class Stopped(RuntimeError):
    """No more children are started: the run is being stopped."""


class Children:
    """The running children, each in a session of its own, so that what it started goes down with it."""

    def __init__(self) -> None:
        self.stopped = False
        self._running: set[subprocess.Popen[str]] = set()
        self._lock = threading.Lock()

    @contextmanager
    def run(
        self, command: Sequence[str], environment: Mapping[str, str], folder: Path | None = None
    ) -> Iterator[IO[str]]:
        """Start a child; the lines that it writes to stdout and stderr. At the end of the block it has ended.

        It works in `folder`, or where this process does.

        Raises:
            Stopped: `stop` was called before.
            CalledProcessError: the child did not exit with 0.
        """
        with self._lock:
            if self.stopped:
                raise Stopped
            process = _start(command, environment, folder)
            self._running.add(process)
        try:
            yield cast(IO[str], process.stdout)
        except BaseException:
            _signal([process], signal.SIGKILL)
            raise
        finally:
            status = process.wait()
            cast(IO[str], process.stdin).close()
            with self._lock:
                self._running.discard(process)
        if status:
            raise subprocess.CalledProcessError(status, command)

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


def _start(command: Sequence[str], environment: Mapping[str, str], folder: Path | None) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command,
        env={**environment, VARIABLE: "1"},
        cwd=folder,
        stdin=subprocess.PIPE,  # nothing comes through it but its end
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,
    )


def _signal(processes: Sequence[subprocess.Popen[str]], number: signal.Signals) -> None:
    for process in processes:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)


def _is_alive(process: subprocess.Popen[str]) -> bool:
    process.poll()  # a child that nobody waited for would count as a member of its group
    try:
        os.killpg(process.pid, 0)
    except ProcessLookupError:
        return False
    return True
