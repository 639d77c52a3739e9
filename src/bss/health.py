"""What is in the way of a run in a workspace: tried, as a run would, not guessed."""

import os
import re
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bss.errors import Unavailable
from bss.files import TEMPORARY
from bss.paths import Workspace

NO_REPOSITORY = (
    "{folder} is in no git repository, which DVC wants (a ZIP has none): "
    "git init && git add -A && git commit -m start; or, without git: dvc config --local core.no_scm true"
)
CONFIGURATIONS = ("config", "config.local")


def expect_no_obstacle(workspace: Workspace) -> None:
    """Refuse a workspace in which a run would fail.

    Raises:
        Unavailable: the message says what is in the way, and a remedy.
    """
    for obstacle in obstacles(workspace):
        raise Unavailable(obstacle)


def obstacles(workspace: Workspace) -> Iterator[str]:
    """A line for each thing that a run would stumble over; none in a folder that DVC does not know."""
    dvc = workspace.temporary.parent
    if not dvc.is_dir():
        return
    places = [workspace.folder, workspace.temporary, _cache(dvc), workspace.logs, workspace.reports]
    places += [workspace.packed.parent, workspace.runs.parent]
    yield from dict.fromkeys(filter(None, map(_unwritable, places)))
    if not _configured(dvc, "no_scm", "(?i:true)") and "not a git repository" in (
        git_problem(workspace.folder) or ""
    ):
        yield NO_REPOSITORY.format(folder=workspace.folder.absolute())


def git_problem(folder: Path) -> str | None:
    """What keeps git from answering in a folder, in its own words and with its remedy; None where it answers."""
    try:
        done = subprocess.run(
            ["git", "rev-parse", "--git-dir"],  # noqa: S607
            cwd=folder, check=False, capture_output=True, text=True, env=os.environ | {"LC_ALL": "C"},
        )  # fmt: skip
    except FileNotFoundError:
        return "git is not installed"
    return " ".join(done.stderr.split()).removeprefix("fatal: ") if done.returncode else None


def _unwritable(place: Path) -> str | None:
    """Why nothing can be written to a folder, or to the one in which it will be made."""
    there = next(folder for folder in (place, *place.parents) if os.path.lexists(folder))
    try:
        with tempfile.NamedTemporaryFile(dir=there, prefix=TEMPORARY, suffix=f".{os.getpid()}"):
            return None
    except OSError as error:
        return f"{there.absolute()} cannot be written ({error.strerror}), and a run writes there"


def _cache(dvc: Path) -> Path:
    """The folder of DVC's cache."""
    return dvc / (_configured(dvc, "dir") or "cache")


def _configured(dvc: Path, key: str, value: str = ".+") -> str | None:
    """What the DVC configuration of a workspace says; the local one before the one in git."""
    values = [
        match[1].strip()
        for name in CONFIGURATIONS
        if (dvc / name).is_file()
        for match in re.finditer(rf"^\s*{key}\s*=\s*({value})\s*$", (dvc / name).read_text(encoding="utf-8"), re.M)
    ]
    return values[-1] if values else None
