"""What a killed run left behind, put right before the next one starts."""

import subprocess
from pathlib import Path

from bss.files import remove_unfinished, write_text

LOCK = Path("dvc.lock")
RWLOCK = Path(".dvc/tmp/rwlock")
FOLDERS = (Path("data"), Path("models"), Path("reports"))


def repair() -> None:
    """Make the current workspace one that DVC accepts; nobody else may be at work in it.

    A plain `dvc repro` that was killed leaves half a dvc.lock: the one of the last commit is taken back, or none is
    left. DVC then finds in its cache what had been computed.
    """
    RWLOCK.unlink(missing_ok=True)
    for folder in FOLDERS:
        remove_unfinished(folder)
    if LOCK.exists() and not _is_whole(LOCK):
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
    found = subprocess.run(["git", "show", f"HEAD:./{LOCK}"], check=False, capture_output=True, encoding="utf-8")
    LOCK.unlink()
    if found.returncode == 0:
        write_text(found.stdout, LOCK)
    source = "taken back from the last commit" if found.returncode == 0 else "begun anew"
    print(f"{LOCK} was left half written: {source}; what was computed comes back from DVC's cache", flush=True)
