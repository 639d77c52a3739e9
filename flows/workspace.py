"""One run at a time in a workspace."""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

TEMPORARY = Path(".dvc/tmp")


class Busy(RuntimeError):  # noqa: N818 - it names the state of the workspace
    """Another run is at work in this workspace."""


@contextmanager
def occupied() -> Iterator[None]:
    """Hold the workspace for this run; the lock ends with the process, however it ends.

    Raises:
        Busy: another flow or a `dvc repro` is at work here; the message names its process.
        FileNotFoundError: the current folder is no DVC workspace.
    """
    if not TEMPORARY.parent.is_dir():
        raise FileNotFoundError(f"{Path.cwd()} has no .dvc folder; run in the folder that holds dvc.yaml")
    TEMPORARY.mkdir(exist_ok=True)
    with (TEMPORARY / "flow.lock").open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise _busy(file.read()) from None
        if (pid := _running_dvc()) is not None:
            raise _busy(pid)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def _busy(pid: int | str) -> Busy:
    return Busy(f"process {pid} is at work in {Path.cwd()}; wait for it or stop it")


def _running_dvc() -> int | None:
    """The process of a stage that DVC runs here; a killed DVC leaves entries behind that nobody owns."""
    try:
        entries = json.loads((TEMPORARY / "rwlock").read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    pids = {entry["pid"] for entry in entries.get("write", {}).values()}
    return next(filter(_is_alive, pids), None)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # of another user
        pass
    return True
