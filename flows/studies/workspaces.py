"""Workspaces beside the user's: a copy of the code, the same cache, parameters of their own.

A study has one a seed and fold.

One workspace for all seeds would be slow: DVC writes its whole lock file after every stage.
"""

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bss.files import write_text
from bss.parsing import dumped
from bss.paths import HERE, Workspace
from flows.studies.study import Raw
from flows.studies.study_run import Repeat, Repeated
from flows.workspace.lock import occupied

PARTS = ("src", "tasks", "flows", str(HERE.sample), "dvc.yaml", ".dvcignore")
"""What is copied."""
CONFIG = """[core]
    no_scm = true
    analytics = false
[cache]
    dir = {cache}
    type = reflink,hardlink,copy
"""


def workspaces(run: Repeated) -> dict[Repeat, Workspace]:
    """Repeat -> its workspace."""
    folder = HERE.temporary.resolve() / "compare" / run.name
    return {repeat: Workspace(folder / str(repeat).replace(", ", "-").replace(" ", "-")) for repeat in run.repeats}


@contextmanager
def held(run: Repeated) -> Iterator[None]:
    """Have the workspaces of a run, and hold them.

    Raises:
        Busy: the same study is running.
    """
    with ExitStack() as stack:
        for workspace in workspaces(run).values():
            create(workspace)
            stack.enter_context(occupied(workspace.folder))
        yield


def create(workspace: Workspace) -> bool:
    """Have a workspace with the cache of the current folder; whether it is new."""
    config = workspace.folder / ".dvc/config"
    is_new = not config.is_file()
    write_text(CONFIG.format(cache=_cache()), config)
    return is_new


def prepare(workspace: Workspace, raw: Raw) -> None:
    """Bring a workspace up to the code of the current folder, and to parameters. Nobody else may be at work in it."""
    for part in PARTS:
        _copy(Path(part), workspace.folder / part)
    HERE.raw.mkdir(parents=True, exist_ok=True)
    for place in (HERE.raw, Path(raw["raw"])):
        _link(place, workspace.folder / place)
    write_text(dumped(raw), workspace.params)


def _copy(source: Path, target: Path) -> None:
    shutil.rmtree(target, ignore_errors=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    copy = shutil.copytree if source.is_dir() else shutil.copy2
    copy(source, target)


def _link(source: Path, target: Path) -> None:
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(source.absolute())


def _cache() -> Path:
    from dvc.repo import Repo

    with Repo() as repo:
        return Path(repo.cache.local_cache_dir)
