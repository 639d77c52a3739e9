"""Holds a workspace, so that one run at a time is at work in it."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from bss.errors import Busy, InputError, MissingInput
from bss.locks import held
from bss.paths import HERE, Workspace
from flows.workspace.work import at_work

if TYPE_CHECKING:
    from dvc.repo import Repo

AT_WORK = "process {pid} is at work in {folder}; wait for it or stop it"
SECONDS_TO_END = 30.0
"""How long the children of a killed flow are waited for; an overloaded machine took 16 to end them."""


@contextmanager
def occupied(folder: Path = HERE.folder) -> Iterator[None]:
    """Hold a workspace for this run; the lock ends with the process, however it ends.

    What a killed run has started is given the seconds that it takes to end.

    Args:
        folder: the workspace; the current folder by default.

    Raises:
        Busy: another flow, a `dvc repro` or a stage is at work there; the message names its process.
        MissingInput: the folder is no DVC workspace.
    """
    temporary, folder = Workspace(folder).temporary, folder.absolute()
    if not temporary.parent.is_dir():
        raise MissingInput(f"{folder} has no .dvc folder; run in the folder that holds dvc.yaml")
    with held(temporary / "flow.lock", AT_WORK.format(pid="{pid}", folder=folder)):
        _wait_for_the_dying(temporary, folder)
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


def _wait_for_the_dying(temporary: Path, folder: Path) -> None:
    """Wait for what a flow has started and is still at work: this run holds the workspace, so that flow is gone."""
    deadline = time.monotonic() + SECONDS_TO_END
    is_waiting = False
    while (work := at_work(temporary)) is not None:
        if not work.of_flow or time.monotonic() > deadline:
            raise Busy(AT_WORK.format(pid=work.pid, folder=folder))
        if not is_waiting:
            print(f"waiting for process {work.pid} of a killed run to end", flush=True)
            is_waiting = True
        time.sleep(0.2)
