"""A state of the workspace as a snapshot: as it is, or a revision that git and DVC know. Nothing here is touched.

Of a revision git gives params.yaml, dvc.lock and the metrics; of what dvc.lock names, the files that a comparison
reads are links into DVC's cache. Weights are not among them.
"""

import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from shlex import quote
from subprocess import CalledProcessError
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from bss.errors import InputError
from bss.evaluation.diff.snapshot import PLACES, Snapshot, belongs
from bss.parsing import read_mapping
from bss.paths import HERE
from bss.registry import UnknownName

if TYPE_CHECKING:
    from dvc_data.hashfile.db import HashFileDB

WORKSPACE = "the workspace"
LOCK = Path("dvc.lock")
IN_GIT = ("params.yaml", "dvc.lock", "reports/metrics")
READ = (
    *("data/packed/meta.json", "data/packed/*/*.parquet", "data/packed/*/*.npy", "data/scores/*.parquet"),
    *(
        "reports/metrics/*.json",
        "data/curricula/*/*.parquet",
        "models/runs/*/draws.parquet",
        "reports/predictions/*/predictions.parquet",
    ),
)
"""What a comparison reads of what dvc.lock names."""
MAX_TARGETS = 5
"""Of a command are spelled out; with more of them it is for all."""


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
    listed = _git("ls-tree", "-r", "-z", "--name-only", revision, "--", *IN_GIT).split(b"\0")[:-1]
    if not listed:
        raise InputError(f"{name} has neither params.yaml nor dvc.lock in {Path.cwd()}: there is nothing to compare")
    for path in map(bytes.decode, listed):
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(_git("show", f"{revision}:./{path}"))
    missing = tuple(_link(_outs(folder), folder))
    return Snapshot(name, folder, missing, _command("dvc fetch --all-commits", missing))


def _outs(folder: Path) -> list[dict[str, Any]]:
    """What the dvc.lock of a folder names of what a comparison reads, of the grid alone."""
    if not (folder / LOCK).is_file():
        return []
    stages = read_mapping(folder / LOCK)["stages"]
    params = read_mapping(folder / HERE.params) if (folder / HERE.params).is_file() else None
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
    files = [("/".join((path, *key)), found.value) for key, _, found in Tree.load(cache, HashInfo("md5", identity))]
    return [(file, str(value)) for file, value in files if any(Path(file).match(pattern) for pattern in READ)]


def _command(start: str, missing: Sequence[str]) -> str:
    return " ".join([start, *missing]) if len(missing) <= MAX_TARGETS else start


def _revision(name: str) -> str:
    """The commit that a name of git stands for."""
    try:
        return _git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}").decode().strip()
    except (CalledProcessError, FileNotFoundError):
        if not (known := _names()):
            raise InputError(f"{name} has no artifacts, and {Path.cwd()} is in no git repository") from None
        if Path(name).is_dir():
            raise InputError(f"{name} is a folder without params.yaml or artifacts, and no revision") from None
        raise UnknownName("folder with artifacts, or revision", name, known) from None


def _names() -> list[str]:
    """What stands for a commit: HEAD, branches and tags; nothing where there is no repository."""
    try:
        return [
            "HEAD",
            *_git("for-each-ref", "--format=%(refname:short)", "refs/heads", "refs/tags").decode().split(),
        ]
    except (CalledProcessError, FileNotFoundError):
        return []


def _git(*arguments: str) -> bytes:
    return subprocess.run(["git", *arguments], check=True, capture_output=True).stdout
