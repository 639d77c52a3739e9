"""A file that one process holds at a time; the lock ends with the process, however that ends."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bss.errors import Busy

SECONDS_BETWEEN_TRIES = 0.1


@contextmanager
def held(path: Path, busy: str, seconds: float = 0.0) -> Iterator[None]:
    """Hold a lock file for the length of a block, with the number of this process in it.

    Args:
        path: of the file; its folder is made.
        busy: the message where another process holds it; `{pid}` in it becomes the number of that process.
        seconds: how long to wait for another process to let go.

    Raises:
        Busy: another process holds it still.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + seconds
    with path.open("a+", encoding="utf-8") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    file.seek(0)
                    raise Busy(busy.format(pid=file.read())) from None
                time.sleep(SECONDS_BETWEEN_TRIES)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def holder(path: Path) -> int | None:
    """The number of the process that holds a lock file; None where nobody does, 0 before it is written."""
    with path.open(encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return int(file.read() or 0)
    return None
