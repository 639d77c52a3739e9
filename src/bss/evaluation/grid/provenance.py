"""The versions of the packages and the commit of the code that a grid was made with."""

import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version

from bss.evaluation.page.words import ABSENT

PACKAGES = ("torch", "prefect", "dvc")
"""Not bss: its version changes with every commit, and `commit` names the one that decides a result."""
CODE = (":/src", ":/tasks", ":/params.yaml", ":/dvc.yaml")
"""The paths that decide a result, from the root of the repository."""


def versions() -> dict[str, str]:
    """The version of Python and of each of PACKAGES that is installed."""
    installed = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            installed[name] = version(name)
        except PackageNotFoundError:
            continue
    return installed


def commit() -> str:
    """The last commit that changed CODE in the repository around the working folder, as in `1a2b3c4d5e + changes`.

    A commit of anything else leaves it as it is, so that a page repeats byte for byte. "-" outside of a repository,
    or where none of CODE was ever committed.
    """
    last = _git("log", "-1", "--format=%h", "--abbrev=10", "--", *CODE)
    return ABSENT if not last else f"{last} + changes" if _git("status", "--porcelain", "--", *CODE) else last


def _git(*arguments: str) -> str:
    command = ["git", *arguments]
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True)  # noqa: S603 - words of this file
    except FileNotFoundError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
