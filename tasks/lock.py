"""One process at a time in a stage, whoever started it: a flow, DVC or a person."""

import fcntl
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

TEMPORARY = Path(".dvc/tmp")
SECONDS_TO_END = 15.0
"""A stage whose run was killed ends before that."""


class Busy(RuntimeError):  # noqa: N818 - it names the state of the stage
    """Another process is at work on the same stage."""


@contextmanager
def alone(stage: str) -> Iterator[None]:
    """Hold a stage of the current workspace; the lock ends with the process, however it ends.

    Raises:
        Busy: another process works on, which then has not been told to end.
    """
    if not TEMPORARY.parent.is_dir():
        yield
        return
    path = TEMPORARY / "stages" / re.sub(r"[^\w.-]", "_", stage)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+", encoding="utf-8") as file:
        _hold(file)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def _hold(file: IO[str]) -> None:
    deadline = time.monotonic() + SECONDS_TO_END
    while True:
        try:
            return fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                file.seek(0)
                raise Busy(f"process {file.read()} is at work on this stage; wait for it or stop it") from None
            time.sleep(0.1)
