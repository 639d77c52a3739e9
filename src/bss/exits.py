"""How a command or a stage ends: its exit code, and a line for what its user can mend."""

import errno
import re
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from bss.errors import Busy, InputError, Unavailable
from bss.files import FULL

REFUSED = {errno.EACCES, errno.EPERM, errno.EROFS}
"""What the system says of a file that this user may not read or write."""
FAILED, WRONG_INPUT, IN_USE, INTERRUPTED = 1, 2, 3, 130
PACKAGES = {
    "PIL": "pillow",
    "mlflow": "mlflow-skinny",
    "ruamel": "ruamel-yaml",
    "sklearn": "scikit-learn",
    "yaml": "pyyaml",
}
"""What is imported by another name than it is installed by."""


@contextmanager
def exits(interrupted: str = "interrupted") -> Iterator[None]:
    """Turn what the user can mend into one line on stderr and an exit code; a fault of ours keeps its traceback.

    2 wrong input; 3 in use by another process; 1 a full disk, a file that the system keeps from us, or a service that
    does not answer; 130 after Ctrl-C.
    Any other exception passes, and Python ends with its traceback and 1.

    Args:
        interrupted: the message after Ctrl-C.
    """
    try:
        yield
    except InputError as error:
        leave(f"error: {error}", WRONG_INPUT)
    except Busy as error:
        leave(f"error: {error}", IN_USE)
    except Unavailable as error:
        leave(f"error: {error}", FAILED)
    except OSError as error:
        if error.errno in FULL:
            leave(f"error: {error}; make room and run again, what was finished is kept", FAILED)
        if error.errno in REFUSED:
            leave(f"error: {error.filename}: {error.strerror}", FAILED)
        raise
    except KeyboardInterrupt:
        leave(interrupted, INTERRUPTED)


@contextmanager
def needs(command: str) -> Iterator[None]:
    """Where a package is missing that an extra of bss brings, one line says which extra, and the exit code is 2.

    Any other module that is missing is a fault of the program, and keeps its traceback.

    Args:
        command: what needs it, for the message.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        name = error.name or ""
        package = PACKAGES.get(name, name.replace("_", "-"))
        if (extra := extras().get(package)) is None:
            raise
        leave(f"error: {command} needs {package}: pip install 'bss[{extra}]'", WRONG_INPUT)


def extras() -> dict[str, str]:
    """Package -> the smallest extra of bss that brings it; empty where bss is not installed."""
    from importlib.metadata import PackageNotFoundError, requires

    try:
        lines = requires("bss") or []
    except PackageNotFoundError:
        return {}
    matches = (re.match(r"([\w.-]+).*extra == ['\"](\w+)", line) for line in lines)
    pairs = [(match[1], match[2]) for match in matches if match]
    sizes = Counter(extra for _, extra in pairs)
    return dict(sorted(pairs, key=lambda pair: -sizes[pair[1]]))


def leave(message: str, status: int) -> NoReturn:
    """Print a last line on stderr, and exit."""
    print(message, file=sys.stderr, flush=True)  # noqa: T201
    sys.exit(status)
