"""Mends what a killed run has left, before the next one starts."""

from pathlib import Path

from bss.errors import Unavailable
from bss.files import remove_unfinished, write_text
from bss.paths import HERE
from flows.revisions import git_commands as git

RWLOCK = HERE.temporary / "rwlock"
FOLDERS = (Path("data"), Path("models"), HERE.reports)


def repair() -> None:
    """Make the current workspace one that DVC accepts. No other process may be at work in it.

    A plain `dvc repro` that was killed leaves half a dvc.lock: the one of the last commit is taken back, or none is
    left. DVC then finds in its cache what had been computed.
    """
    RWLOCK.unlink(missing_ok=True)
    for folder in FOLDERS:
        remove_unfinished(folder)
    if HERE.lock.exists() and not _is_whole(HERE.lock):
        _restore()


def _is_whole(path: Path) -> bool:
    from dvc.exceptions import DvcException
    from dvc.schema import COMPILED_LOCKFILE_SCHEMA
    from dvc.utils.serialize import load_yaml
    from voluptuous import Invalid

    try:
        COMPILED_LOCKFILE_SCHEMA(load_yaml(path))
    except (DvcException, Invalid):
        return False
    return path.read_bytes().endswith(b"\n")  # a number cut short is a number


def _restore() -> None:
    HERE.lock.unlink()
    try:
        write_text(git.content("HEAD", HERE.lock).decode(), HERE.lock)
        source = "taken back from the last commit"
    except Unavailable:
        source = "begun anew"
    print(f"{HERE.lock} was left half written: {source}; what was computed comes back from DVC's cache", flush=True)
