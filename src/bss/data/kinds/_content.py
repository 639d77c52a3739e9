"""What a file holds: at a path, or in a cell of a table as `{bytes, path}`, as data sets are published."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from bss.errors import InputError

CELL = "the content of the cell"


class _Cell(io.BytesIO):
    """The bytes of a cell, called as a message calls them."""

    name = CELL

    def __repr__(self) -> str:
        return CELL


def is_file(value: Any) -> bool:
    """Whether a raw value is a file: its path, or its content."""
    return isinstance(value, Path | Mapping)


def named(value: Any) -> str:
    """What a message calls a file."""
    return CELL if isinstance(value, Mapping) else str(value)


def opened(value: Any) -> BinaryIO:
    """A file for reading: at a path, or its content as `{"bytes": ...}`.

    Raises:
        FileNotFoundError: there is no such file.
        InputError: the cell has no bytes.
    """
    if not isinstance(value, Mapping):
        return open(value, "rb")  # noqa: PTH123 - the caller closes it; a path may be a string
    if not value.get("bytes"):
        raise InputError(f"has no bytes, only {sorted(value)}")
    return _Cell(value["bytes"])
