"""A snapshot of the workspace, or of a revision that git and DVC know. The workspace stays as it is.

git gives the params.yaml, the dvc.lock and the metrics of a revision. The other files that a comparison reads are
links into DVC's cache, found by their entries in dvc.lock. Weights are not among them.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from shlex import quote
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from bss.errors import InputError
from bss.evaluation.diff.snapshot import PLACES, Snapshot, belongs
from bss.health import git_problem
from bss.parsing import read_mapping
from bss.paths import HERE, Workspace
from bss.registry import UnknownName
from flows.revisions import git_commands as git

if TYPE_CHECKING:
    from dvc_data.hashfile.db import HashFileDB

WORKSPACE = "the workspace"
IN_GIT = (HERE.params, HERE.lock, HERE.all_metrics)
READ = (
    *(f"{HERE.packed}/{pattern}" for pattern in ("meta.json", "*/*.parquet", "*/*.npy")),
    f"{HERE.all_scores}/*.parquet",
    f"{HERE.all_metrics}/*.json",
    f"{HERE.curricula}/*/*.parquet",
    f"{HERE.runs}/*/draws.parquet",
    f"{HERE.all_predictions}/*/predictions.parquet",
)
"""The files that a comparison reads, as far as dvc.lock names them."""
MAX_TARGETS = 5
"""A command with more targets than these is given without any, for all."""


@contextmanager
def snapshot(name: str | None) -> Iterator[Snapshot]:
    """The snapshot of a revision or a folder, or of the workspace where there is no name.

    Raises:
        InputError: neither a folder with artifacts nor a revision; the message names the nearest one.
    """
    if name is None or any((Path(name) / place).exists() for place in PLACES):
        yield _of_folder(name)
        return
    revision = _revision(name)
    with TemporaryDirectory(prefix="bss-diff-") as folder:
        yield _of_revision(name, revision, Path(folder))


def _of_folder(name: str | None) -> Snapshot:
    folder = Path(name or ".")
    missing = tuple(out["path"] for out in _outs(folder) if not (folder / out["path"]).exists())
    start = f"dvc --cd {quote(name)} pull" if name else "dvc pull"
    return Snapshot(name or WORKSPACE, folder, missing, _command(start, missing))


def _of_revision(name: str, revision: str, folder: Path) -> Snapshot:
    paths = git.files(revision, *IN_GIT)
    if not paths:
        raise InputError(f"{name} has neither params.yaml nor dvc.lock in {Path.cwd()}: there is nothing to compare")
    for path in paths:
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(git.content(revision, path))
    missing = tuple(_link(_outs(folder), folder))
    return Snapshot(name, folder, missing, _command("dvc fetch --all-commits", missing))


def _outs(folder: Path) -> list[dict[str, Any]]:
    """The outs in the dvc.lock of a folder that a comparison reads and that belong to its grid."""
    workspace = Workspace(folder)
    if not workspace.lock.is_file():
        return []
    stages = read_mapping(workspace.lock)["stages"]
    params = read_mapping(workspace.params) if workspace.params.is_file() else None
    outs = [out for stage in stages.values() for out in stage.get("outs", [])]
    return [out for out in outs if _is_read(out) and belongs(Path(out["path"]), params)]


def _is_read(out: Mapping[str, Any]) -> bool:
    """Whether a comparison reads an out; of a folder it is enough that it reads a file of that place."""
    path = Path(out["path"])
    if str(out.get("md5")).endswith(".dir"):
        return any(path.match(str(Path(pattern).parent)) for pattern in READ)
    return any(path.match(pattern) for pattern in READ)


def _link(outs: Sequence[Mapping[str, Any]], folder: Path) -> Iterator[str]:
    """Link the files of outs from the cache into a folder; gives the paths of those that the cache does not have."""
    from dvc.repo import Repo

    with Repo() as repo:
        cache = repo.cache.local
        for out in outs:
            files = _files(cache, out["path"], str(out.get("md5")))
            if files is None:
                yield out["path"]
            for path, identity in files or []:
                target = folder / path
                if target.exists():  # git has it
                    continue
                if cache.exists(identity):
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.symlink_to(cache.oid_to_path(identity))
                else:
                    yield path


def _files(cache: "HashFileDB", path: str, identity: str) -> list[tuple[str, str]] | None:
    """The files of an out that a comparison reads, each with its object's name; None where its list is not there."""
    from dvc_data.hashfile.hash_info import HashInfo
    from dvc_data.hashfile.tree import Tree

    if not identity.endswith(".dir"):
        return [(path, identity)]
    if not cache.exists(identity):
        return None
    files = [("/".join((path, *key)), entry.value) for key, _, entry in Tree.load(cache, HashInfo("md5", identity))]
    return [(file, str(value)) for file, value in files if any(Path(file).match(pattern) for pattern in READ)]


def _command(start: str, missing: Sequence[str]) -> str:
    return " ".join([start, *missing]) if len(missing) <= MAX_TARGETS else start


def _revision(name: str) -> str:
    """The commit that a name of git stands for."""
    if (commit := git.commit(name)) is not None:
        return commit
    if (problem := git_problem(Path())) is not None:
        raise InputError(f"{name} has no artifacts, and git tells of no revision in {Path.cwd()}: {problem}")
    known = git.names()
    if Path(name).is_dir():
        raise InputError(f"{name} is a folder without params.yaml or artifacts, and no revision")
    raise UnknownName("folder with artifacts, or revision", name, known)
