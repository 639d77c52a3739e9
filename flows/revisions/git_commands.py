"""What git knows of the current folder. No other module of the flows runs git."""

import os
import re
import subprocess
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from bss.errors import Unavailable

EXPERIMENT = re.compile(r"^refs/exps/[0-9a-f]{2}/[0-9a-f]{38}/(?P<name>\S+) (?P<commit>\w+)$", re.MULTILINE)
GONE = f"0 {40 * '0'}"
"""The entry of a file that a commit no longer has."""


def commit(name: str) -> str | None:
    """The commit that a name stands for, of git or of an experiment of DVC; None where there is none."""
    try:
        return _git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}").decode().strip()
    except Unavailable:
        return experiments().get(name)


def names() -> list[str]:
    """What stands for a commit: HEAD, branches, tags and experiments; nothing where there is no repository."""
    try:
        listed = _git("for-each-ref", "--format=%(refname:short)", "refs/heads", "refs/tags")
    except Unavailable:
        return []
    return ["HEAD", *listed.decode().split(), *experiments()]


def experiments() -> dict[str, str]:
    """Name -> commit of the experiments that DVC keeps; of those with one name the last."""
    try:
        listed = _git("for-each-ref", "--sort=creatordate", "--format=%(refname) %(objectname)", "refs/exps")
    except Unavailable:
        return {}
    return {match["name"]: match["commit"] for match in EXPERIMENT.finditer(listed.decode())}


def add_experiment(name: str, folder: Path, places: Iterable[Path]) -> None:
    """Keep files of another folder as an experiment: what DVC does for its own, a commit of no branch on top of HEAD.

    Args:
        name: of the experiment, which is new.
        folder: holds the files as the current folder would.
        places: files and folders below it, as they are in the experiment.
    """
    head, prefix = _git("rev-parse", "HEAD").decode().strip(), _git("rev-parse", "--show-prefix").decode().strip()
    kept = [path for place in places for path in _files(folder / place)]
    known = dict.fromkeys(files("HEAD", *places), GONE)
    paths = "".join(f"{path.absolute()}\n" for path in kept)
    blobs = _git("hash-object", "-w", "--no-filters", "--stdin-paths", given=paths).decode().split()
    entries = known | {
        path.relative_to(folder): f"{_mode(path)} {blob}" for path, blob in zip(kept, blobs, strict=True)
    }
    lines = "".join(f"{entry}\t{prefix}{path.as_posix()}\n" for path, entry in entries.items())
    with TemporaryDirectory() as temporary:
        environment = {"GIT_INDEX_FILE": str(Path(temporary, "index")), **_author()}
        _git("read-tree", head, environment=environment)
        _git("update-index", "--index-info", given=lines, environment=environment)
        tree = _git("write-tree", environment=environment).decode().strip()
        message = f"dvc: commit experiment {tree}"
        made = _git("commit-tree", tree, "-p", head, "-m", message, environment=environment).decode().strip()
    _git("update-ref", f"refs/exps/{head[:2]}/{head[2:]}/{name}", made)


def _files(place: Path) -> list[Path]:
    found = place.rglob("*") if place.is_dir() else [place]
    return [path for path in found if path.is_file() and "__pycache__" not in path.parts]


def _mode(path: Path) -> str:
    return "100755" if os.access(path, os.X_OK) else "100644"


def _author() -> dict[str, str]:
    """Whose the commit is: the user's, or nobody's where git knows none, as on a runner."""
    known = dict.fromkeys(("name", "email"), "bss")
    for key in known:
        with suppress(Unavailable):
            known[key] = _git("config", f"user.{key}").decode().strip()
    return {f"GIT_{role}_{key.upper()}": value for role in ("AUTHOR", "COMMITTER") for key, value in known.items()}


def files(revision: str, *places: Path) -> list[Path]:
    """The files of these places in a revision, relative to the current folder."""
    listed = _git("ls-tree", "-r", "-z", "--name-only", revision, "--", *map(str, places))
    return [Path(path.decode()) for path in listed.split(b"\0")[:-1]]


def content(revision: str, path: Path) -> bytes:
    """A file of the current folder as a revision has it.

    Raises:
        Unavailable: it has none.
    """
    return _git("show", f"{revision}:./{path}")


def _git(*arguments: str, given: str = "", environment: Mapping[str, str] | None = None) -> bytes:
    """What git answers.

    Args:
        arguments: of the command.
        given: what it reads.
        environment: variables beside those of this process.

    Raises:
        Unavailable: there is no git, or it refuses.
    """
    try:
        return subprocess.run(
            ["git", *arguments],
            check=True,
            capture_output=True,
            input=given.encode(),
            env={**os.environ, **(environment or {})},
        ).stdout
    except subprocess.CalledProcessError as error:
        raise Unavailable(f"git {arguments[0]}: {error.stderr.decode(errors='replace').strip()}") from None
    except FileNotFoundError:
        raise Unavailable("git is not installed") from None
