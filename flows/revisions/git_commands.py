"""What git knows of the current folder. No other module of the flows runs git."""

import subprocess
from pathlib import Path

from bss.errors import Unavailable


def commit(name: str) -> str | None:
    """The commit that a name stands for; None where there is none."""
    try:
        return _git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}").decode().strip()
    except Unavailable:
        return None


def names() -> list[str]:
    """What stands for a commit: HEAD, branches and tags; nothing where there is no repository."""
    try:
        listed = _git("for-each-ref", "--format=%(refname:short)", "refs/heads", "refs/tags")
    except Unavailable:
        return []
    return ["HEAD", *listed.decode().split()]


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


def _git(*arguments: str) -> bytes:
    """What git answers.

    Raises:
        Unavailable: there is no git, or it refuses.
    """
    try:
        return subprocess.run(["git", *arguments], check=True, capture_output=True).stdout
    except subprocess.CalledProcessError as error:
        raise Unavailable(f"git {arguments[0]}: {error.stderr.decode(errors='replace').strip()}") from None
    except FileNotFoundError:
        raise Unavailable("git is not installed") from None
