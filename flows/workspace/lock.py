"""One run at a time in a workspace."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from flows.workspace.work import at_work

if TYPE_CHECKING:
    from dvc.repo import Repo

TEMPORARY = Path(".dvc/tmp")
AT_WORK = "is at work"
SECONDS_TO_END = 15.0
"""What a killed flow had started is gone before that."""


class Busy(RuntimeError):  # noqa: N818 - it names the state of the workspace
    """Another run is at work in this workspace."""


@contextmanager
def occupied() -> Iterator[None]:
    """Hold the workspace for this run; the lock ends with the process, however it ends.

    What a killed run has started is given the seconds that it takes to end.

    Raises:
        Busy: another flow, a `dvc repro` or a stage is at work here; the message names its process.
        FileNotFoundError: the current folder is no DVC workspace.
    """
    if not TEMPORARY.parent.is_dir():
        raise FileNotFoundError(f"{Path.cwd()} has no .dvc folder; run in the folder that holds dvc.yaml")
    with held(TEMPORARY / "flow.lock", AT_WORK):
        _wait_for_the_dying()
        yield


@contextmanager
def held(path: Path, what: str) -> Iterator[None]:
    """Hold a lock file, the number of this process in it; the lock ends with the process, however it ends.

    Raises:
        Busy: another process holds it, and the message says what that does here.
    """
    path.parent.mkdir(exist_ok=True)
    with path.open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise _busy(file.read(), what) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


@contextmanager
def repository() -> Iterator["Repo"]:
    """The DVC repository of the current folder, locked.

    Raises:
        ValueError: DVC refuses what the block asks for.
        Busy: another DVC process holds the workspace.
    """
    from dvc.exceptions import DvcException
    from dvc.lock import LockError
    from dvc.repo import Repo

    try:
        with Repo() as repo, repo.lock:
            yield repo
    except LockError as error:
        raise Busy(str(error)) from error
    except DvcException as error:
        raise ValueError(str(error)) from error


def _wait_for_the_dying() -> None:
    """This run holds the workspace, so what a flow has started and is still at work has lost that flow."""
    deadline = time.monotonic() + SECONDS_TO_END
    told = False
    while (work := at_work(TEMPORARY)) is not None:
        if not work.of_flow or time.monotonic() > deadline:
            raise _busy(work.pid)
        if not told:
            print(f"waiting for process {work.pid} of a killed run to end", flush=True)
            told = True
        time.sleep(0.2)


def _busy(pid: int | str, what: str = AT_WORK) -> Busy:
    return Busy(f"process {pid} {what} in {Path.cwd()}; wait for it or stop it")
