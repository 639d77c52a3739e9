"""Checkpoints: states from which an interrupted training goes on.

models/checkpoints/<cell>/<key>/<number>-<checksum>.safetensors

`key` is made of the parameters, the inputs, the code and the versions, so that a checkpoint of anything else is never
found. A file is written under a temporary name and moved into place; its name holds the checksum of its content.
"""

import hashlib
import json
import logging
import shutil
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import torch
from safetensors.torch import load, save
from torch import Tensor

import bss
from bss.files import replaced
from bss.paths import Workspace

if TYPE_CHECKING:
    from bss.params import Params
    from bss.training.runtime import Runtime

LOG = logging.getLogger(__name__)
NUM_KEPT = 2
SMALL = 64 * 2**20
"""Bytes; size and time of the last change stand for the content of a larger file."""
STATE = "state"
SETTINGS = {"train", "runtime", "warmup", "score", "encoders", "fusion", "augment", "curriculum", "methods"}
SETTINGS |= {"by_test"}
"""The sections of params.yaml that a checkpoint belongs to."""


class Checkpoints:
    """The checkpoints of one training.

    Args:
        folder: holds nothing else.
        minutes: between two checkpoints in the middle of an epoch.
    """

    def __init__(self, folder: Path, minutes: float) -> None:
        self.folder, self.minutes = folder, minutes
        self._last = time.monotonic()

    @property
    def is_due(self) -> bool:
        """Whether the last is older than `minutes`."""
        return time.monotonic() - self._last >= 60 * self.minutes

    def save(self, state: Mapping[str, Any]) -> None:
        """Write a state of tensors and plain values, nested in mappings and lists; the two last are kept."""
        kept = self._files()
        number = 1 + int(kept[-1].name.partition("-")[0]) if kept else 0
        content = _packed(state)
        with replaced(self.folder / f"{number:08d}-{_checksum(content)}.safetensors") as temporary:
            temporary.write_bytes(content)
        for path in kept[: -NUM_KEPT + 1]:
            path.unlink()
        self._last = time.monotonic()

    def load(self) -> dict[str, Any] | None:
        """The last state that is whole, or None; a damaged one is removed, with a warning."""
        for path in reversed(self._files()):
            content = path.read_bytes()
            if _checksum(content) == path.stem.partition("-")[2]:
                return _unpacked(content)
            LOG.warning("warning: %s is damaged; going on from the one before", path)
            path.unlink()
        return None

    def remove(self) -> None:
        """Remove them all: the training has ended, and what it leaves is written."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _files(self) -> list[Path]:
        return sorted(self.folder.glob("[0-9]*-*.safetensors"))


def checkpoints_of(
    params: "Params",
    workspace: Workspace,
    name: str,
    inputs: Iterable[Path],
    runtime: "Runtime",
    parts: Mapping[str, Any] | None = None,
) -> Checkpoints:
    """The checkpoints of a training.

    Args:
        params: of the whole grid.
        workspace: where they lie.
        name: of the training.
        inputs: files and folders that it depends on.
        runtime: of the training; a checkpoint is of what `auto` became.
        parts: what it depends on beside the sections in `SETTINGS`.
    """
    # Not by model_dump: it knows a component by its base class alone, without its fields.
    sections = {name: repr(getattr(params, name)) for name in sorted(SETTINGS)}
    whole = {**sections, "facts": runtime.facts, **(parts or {})}
    return Checkpoints(workspace.checkpoints / name / key(whole, inputs), params.flow.checkpoint_minutes)


def key(parts: Mapping[str, Any], inputs: Iterable[Path]) -> str:
    """The name of the folder of a training's checkpoints: no other training has the same.

    Args:
        parts: the parameters that the result depends on.
        inputs: files and folders that it depends on.
    """
    versions = {"python": sys.version, "torch": torch.__version__, "numpy": np.__version__, "polars": pl.__version__}
    source = Path(bss.__file__).parent.rglob("*.py")
    dependencies = {
        "parts": parts,
        "inputs": {str(path): _fingerprint(path) for path in inputs},
        "source": _together(_fingerprint(path) for path in sorted(source)),
        "versions": versions,
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
    }
    return _checksum(json.dumps(dependencies, sort_keys=True).encode())


def _fingerprint(path: Path) -> str:
    if path.is_dir():
        files = (file for file in sorted(path.rglob("*")) if file.is_file())
        return _together(f"{file.relative_to(path)} {_fingerprint(file)}" for file in files)
    facts = path.stat()
    return f"{facts.st_size} {facts.st_mtime_ns}" if facts.st_size > SMALL else _checksum(path.read_bytes())


def _together(texts: Iterable[str]) -> str:
    return _checksum("\n".join(texts).encode())


def _checksum(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def _packed(state: Mapping[str, Any]) -> bytes:
    tensors: dict[str, Tensor] = {}

    def plain(value: Any) -> Any:
        if isinstance(value, Tensor):
            tensors[str(len(tensors))] = value.detach().cpu().contiguous()
            return {"tensor": str(len(tensors) - 1)}
        if isinstance(value, Mapping):
            return {"mapping": [[key, plain(item)] for key, item in value.items()]}
        return [plain(item) for item in value] if isinstance(value, list | tuple) else value

    text = json.dumps(plain(state))
    return save({name: values.clone() for name, values in tensors.items()}, {STATE: text})


def _unpacked(content: bytes) -> dict[str, Any]:
    tensors = load(content)

    def rich(value: Any) -> Any:
        if isinstance(value, dict) and "tensor" in value:
            return tensors[value["tensor"]]
        if isinstance(value, dict):
            return {key: rich(item) for key, item in value["mapping"]}
        return [rich(item) for item in value] if isinstance(value, list) else value

    header = content[8 : 8 + int.from_bytes(content[:8], "little")]
    return rich(json.loads(json.loads(header)["__metadata__"][STATE]))  # type: ignore[no-any-return]
