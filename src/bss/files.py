"""Files that are whole or not there: written under a temporary name, then moved into place."""

import errno
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bss.errors import InputError, MissingInput

if TYPE_CHECKING:
    from torch import Tensor


TEMPORARY = ".~"
"""Beginning of the names of unfinished files; git and DVC ignore them, because a killed process leaves them."""
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
NUM_BYTES_ASKED = 1 << 16


class DiskFull(OSError):
    """There was no room for a file; nothing of it is left."""

    def __str__(self) -> str:
        return str(self.strerror)


@contextmanager
def replaced(path: Path, *, lasting: bool = True) -> Iterator[Path]:
    """A temporary name beside `path`; what was written there becomes `path` if the block ends well.

    A lasting file is on the disk before it has its name: a power cut leaves the old one or the new one.

    Raises:
        DiskFull: the disk, the quota or a limit leaves no room for it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{TEMPORARY}{path.name}{owner()}")
    try:
        with full_disk_explained(path, temporary):
            yield temporary
            if lasting:
                sync(temporary)
        temporary.replace(path)
        if lasting:
            sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def owner() -> str:
    """Ending of the names of this process's unfinished files; those of a killed process are known by it."""
    return f".{os.getpid()}"


def remove_unfinished(folder: Path) -> None:
    """Remove what killed processes left below a folder."""
    for path in folder.rglob(f"{TEMPORARY}*"):
        pid = path.suffix.removeprefix(".")
        if pid.isdecimal() and not Path("/proc", pid).exists():
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Have the content of a file, or the names in a folder, on the disk before this returns."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def full_disk_explained(path: Path, temporary: Path | None = None) -> Iterator[None]:
    """Say of a block that writes `path`, by way of `temporary` if there is one, that no room was left.

    Raises:
        DiskFull: the block failed because no room was left, whatever its library made of that.
    """
    try:
        yield
    except Exception as error:
        number = _system_error(error, temporary)
        if number in FULL:
            raise DiskFull(number, f"{path} was not written: {os.strerror(number)}") from error
        raise


def _system_error(error: Exception, temporary: Path | None) -> int:
    if isinstance(error, OSError):
        return error.errno or 0
    if match := re.search(r"\(os error (\d+)\)", str(error)):  # libraries in Rust
        return int(match[1])
    # polars may drop the number; then the disk can be asked, because what it left still takes the room.
    try:
        if temporary is not None and temporary.exists():
            with temporary.open("ab") as file:
                file.write(bytes(NUM_BYTES_ASKED))
    except OSError as refused:
        return refused.errno or 0
    return 0


def existing(path: Path) -> Path:
    """`path`, which a stage has written.

    Raises:
        MissingInput: it has not.
    """
    if not path.is_file():
        raise MissingInput(f"{path} is missing; run the stage that writes it")
    return path


def checksum(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_text(text: str, path: Path) -> None:
    """Write a text file, UTF-8."""
    with replaced(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(value: Any, path: Path) -> None:
    """Write JSON with sorted keys, a value a line, so that git shows what changed."""
    write_text(json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n", path)


def write_tensors(tensors: Mapping[str, "Tensor"], path: Path, notes: dict[str, str] | None = None) -> None:
    """Write named tensors as safetensors, notes into its header."""
    from safetensors.torch import save_file

    with replaced(path) as temporary:
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, temporary, notes)


def read_tensors(path: Path) -> dict[str, "Tensor"]:
    """Named tensors from safetensors.

    Raises:
        InputError: the file is missing or damaged.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (FileNotFoundError, SafetensorError) as error:
        raise InputError(f"{path}: {error}; run the stage that writes it again") from error
