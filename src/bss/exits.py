"""How a command or a stage ends: its exit code, and a line for what its user can mend."""

import errno
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from bss.errors import Busy, InputError, Unavailable
from bss.files import FULL

REFUSED = {errno.EACCES, errno.EPERM, errno.EROFS}
"""What the system says of a file that this user may not read or write."""
FAILED, WRONG_INPUT, IN_USE, INTERRUPTED = 1, 2, 3, 130


@contextmanager
def exits(interrupted: str = "interrupted") -> Iterator[None]:
    """Turn what the user can mend into one line on stderr and an exit code; a fault of ours keeps its traceback.

    2 wrong input; 3 in use by another process; 1 a full disk, a file that the system keeps from us, or a service that
    does not answer; 130 after Ctrl-C.
    Any other exception passes, and Python ends with its traceback and 1.

    Args:
        interrupted: what is said after Ctrl-C.
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


def leave(message: str, status: int) -> NoReturn:
    """Say on stderr why nothing more happens, and exit."""
    print(message, file=sys.stderr, flush=True)  # noqa: T201
    sys.exit(status)
