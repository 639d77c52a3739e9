"""A child ends with the flow that started it, even where that was killed and could tell nobody.

The flow holds one end of the child's standard input and never writes: it ends when the flow does.
`python -m flows.workspace.lifeline MODULE ...` gives the line to a module that knows nothing of it. A process that is
not a child of the flow watches a lock file that the flow holds.
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
"""Set in the environment of a child whose standard input is such a line."""
SECONDS_TO_END = 3


def end_with_parent() -> None:
    """Where a flow started this process, end it with the flow, and all that it started in its process group.

    What it starts finds an empty standard input.
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
