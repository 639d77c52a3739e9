"""Files that are whole or not there: written under a temporary name, then moved into place."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


TEMPORARY = ".~"
"""What names of unfinished files begin with; git and DVC ignore them, because a killed process leaves them."""


@contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """A temporary name beside `path`; what was written there becomes `path` if the block ends well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{TEMPORARY}{path.name}.{os.getpid()}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


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
        ValueError: the file is missing or damaged.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (FileNotFoundError, SafetensorError) as error:
        raise ValueError(f"{path}: {error}; run the stage that writes it again") from error
