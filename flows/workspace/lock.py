"""One run at a time in a workspace."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from bss.errors import Busy, InputError, MissingInput
from bss.locks import held
from flows.workspace.work import at_work

if TYPE_CHECKING:
    from dvc.repo import Repo

TEMPORARY = Path(".dvc/tmp")
AT_WORK = "process {pid} is at work in {folder}; wait for it or stop it"
SECONDS_TO_END = 15.0
"""What a killed flow had started is gone before that."""


@contextmanager
def occupied() -> Iterator[None]:
    """Hold the workspace for this run; the lock ends with the process, however it ends.

    What a killed run has started is given the seconds that it takes to end.

    Raises:
        Busy: another flow, a `dvc repro` or a stage is at work here; the message names its process.
        MissingInput: the current folder is no DVC workspace.
    """
    if not TEMPORARY.parent.is_dir():
        raise MissingInput(f"{Path.cwd()} has no .dvc folder; run in the folder that holds dvc.yaml")
    with held(TEMPORARY / "flow.lock", AT_WORK.format(pid="{pid}", folder=Path.cwd())):
        _wait_for_the_dying()
        yield


@contextmanager
def repository() -> Iterator["Repo"]:
    """The DVC repository of the current folder, locked.

    Raises:
        InputError: DVC refuses what the block asks for.
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
        raise InputError(str(error)) from error


def _wait_for_the_dying() -> None:
    """This run holds the workspace, so what a flow has started and is still at work has lost that flow."""
    deadline = time.monotonic() + SECONDS_TO_END
    is_waiting = False
    while (work := at_work(TEMPORARY)) is not None:
        if not work.of_flow or time.monotonic() > deadline:
            raise Busy(AT_WORK.format(pid=work.pid, folder=Path.cwd()))
        if not is_waiting:
            print(f"waiting for process {work.pid} of a killed run to end", flush=True)
            is_waiting = True
        time.sleep(0.2)
