"""A child process ends with the flow that started it, even where that flow was killed.

The standard input of the child is a pipe into which the flow never writes; it is closed when the flow ends.
`python -m flows.workspace.lifeline MODULE ...` runs any module as such a child. A process that is not a child of the
flow watches a lock file that the flow holds.
"""

import fcntl
import os
import runpy
import signal
import subprocess
import sys
import threading
from pathlib import Path

VARIABLE = "BSS_LIFELINE"
"""The variable that says to a child that its standard input is such a pipe."""
SECONDS_TO_END = 3


def end_with_parent() -> None:
    """End this process, and all that it started in its process group, with the flow that started it, if one did.

    The standard input of what it starts is empty.
    """
    if os.environ.pop(VARIABLE, None) is None:
        return
    line, nothing = os.dup(0), os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    threading.Thread(target=_watch, args=[line], daemon=True).start()


def end_with_holder(lock: Path) -> None:
    """End this process, and all that it started in its process group, when nobody holds a lock file any more."""
    threading.Thread(target=_wait, args=[lock], daemon=True).start()


def _watch(line: int) -> None:
    os.read(line, 1)
    _end()


def _wait(lock: Path) -> None:
    with lock.open() as file:
        fcntl.flock(file, fcntl.LOCK_SH)
    _end()


def _end() -> None:
    group = os.getpgrp()
    # Outside of the group, because it has to be there when this process has ended.
    subprocess.Popen(["sh", "-c", f"sleep {SECONDS_TO_END}; kill -KILL -{group} 2>&-"], start_new_session=True)
    os.killpg(group, signal.SIGTERM)


if __name__ == "__main__":
    end_with_parent()
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
