"""What a module of this folder says where its library is missing."""

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def brought_by(extra: str) -> Iterator[None]:
    """Imports of packages that an extra of bss brings.

    Raises:
        ModuleNotFoundError: one is missing; the message names the extra.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        message = f"bss.integrations.{extra} needs {package}: pip install 'bss[{extra}]'"
        raise ModuleNotFoundError(message, name=package) from error
