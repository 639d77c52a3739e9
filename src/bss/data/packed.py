"""The packed form of a data set: one array a modality and split, read through a memory map.

<folder>/meta.json                      kinds, shapes, statistics, classes
<folder>/skipped.parquet                the rows that could not be used, and why
<folder>/<split>/<modality>.npy         (N, *shape), in the kind's own type
<folder>/<split>/manifest.parquet       one row a pair: label, id, where each value came from
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from bss.errors import InputError, MissingInput
from bss.types import PRESENT, Split

META, MANIFEST, SKIPPED = "meta.json", "manifest.parquet", "skipped.parquet"
PADDING, UNKNOWN = 0, 1
"""Token ids: of a place after the end of a short text, and of a word that is in no training text."""


Scale = float | tuple[float, ...]
"""One for all values, or one for each number of the last axis."""


class ModalityMeta(BaseModel):
    """The description of the packed array of one modality.

    `mean` and `std` are those of the training split: one for all values, or one for each number of the last axis;
    `std` > 0. They are 0 and 1 for a kind that is not normalised. `kind` and `encoder` are names; `shape` is that of
    one sample.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: str
    shape: tuple[int, ...]
    mean: Scale
    std: Scale
    encoder: str
    tokens: tuple[str, ...] | None = None
    """The word of each token id, where the array holds such ids."""
    padding: int | None = None
    """The token id that fills a short sample, where it is not 0."""
    dimensions: int | None = None
    """Coordinates of a joint, where the numbers of a step are those of joint after joint."""


class Meta(BaseModel):
    """The description of a packed data set; the order of `modalities` and `classes` is that of every table."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    dataset: str
    classes: tuple[str, ...]
    modalities: dict[str, ModalityMeta]
    num_pairs: dict[Split, int]
    num_skipped: int = 0
    """Rows that could not be used."""
    absent_classes: dict[Split, tuple[str, ...]] | None = None
    """Split -> the classes of which it has no pair, where there are some."""
    masked: bool = False
    """Whether a pair may be without a value of a modality; the manifests say which."""

    @classmethod
    def read(cls, folder: Path) -> "Meta":
        """The description of the packed data set in `folder`.

        Raises:
            MissingInput: nothing was packed there.
            InputError: the file is damaged.
        """
        path = existing(folder / META)
        try:
            return cls.model_validate_json(path.read_text())
        except ValidationError as error:
            raise InputError(f"{path} is damaged, run preprocess again: {error}") from error


@dataclass(frozen=True)
class PackedSplit:
    """One split, opened. Row i of every array belongs to `labels[i]` and `ids[i]`.

    `labels` (N,) int64 are indices into `meta.classes`; `arrays[modality]` is (N, *shape), read-only.
    """

    folder: Path
    split: Split
    meta: Meta
    labels: np.ndarray
    ids: tuple[str, ...]
    arrays: Mapping[str, np.ndarray]
    present: Mapping[str, np.ndarray] = field(default_factory=dict)
    """Modality -> whether each pair has a value of it, (N,) bool; empty where all have."""
    rows: np.ndarray | None = None
    """The rows of the files that it has, (N,) int64, where these are some of them."""

    def __len__(self) -> int:
        return len(self.labels)

    def __reduce__(self) -> tuple[Callable[..., "PackedSplit"], tuple[Any, ...]]:
        # A worker process opens the files anew: a pickled memory map is a copy of all its data.
        return _reopened, (self.folder, self.split, self.rows)

    def only(self, rows: np.ndarray) -> "PackedSplit":
        """Some of its pairs, with copies of their arrays, as if there were no others.

        Args:
            rows: their indices (n,), int64, in the order that they are to have.
        """
        return replace(
            self,
            labels=self.labels[rows],
            ids=tuple(self.ids[row] for row in rows),
            arrays={name: array[rows] for name, array in self.arrays.items()},
            present={name: there[rows] for name, there in self.present.items()},
            rows=rows if self.rows is None else self.rows[rows],
        )

    @property
    def fingerprint(self) -> str:
        """The name of the data set and a checksum over ids and labels: the same for the same pairs."""
        digest = sha256("\0".join(self.ids).encode())
        digest.update(self.labels.tobytes())
        return f"{self.meta.dataset} {digest.hexdigest()[:16]}"

    def read(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        """A copy of the rows `indices` (B,) of each modality, (B, *shape), in the stored type.

        Where modalities may be missing, `<modality>_present` (B,) bool stands beside each.
        """
        rows = {name: np.asarray(array[indices]) for name, array in self.arrays.items()}
        return rows | {f"{name}{PRESENT}": there[indices] for name, there in self.present.items()}


def open_split(folder: Path, split: Split | str) -> PackedSplit:
    """One split of the packed data set in `folder`; the arrays are mapped, not loaded.

    Raises:
        MissingInput: a file is missing; the message names it.
        InputError: an array's rows or shape are not those of the manifest and `meta.json`.
    """
    import polars as pl

    split = Split(split)
    meta = Meta.read(folder)
    masks = {name: f"{name}{PRESENT}" for name in meta.modalities} if meta.masked else {}
    manifest = pl.read_parquet(existing(folder / split / MANIFEST), columns=["id", "label", *masks.values()])
    arrays = {
        name: _open(folder / split / f"{name}.npy", (len(manifest), *modality.shape))
        for name, modality in meta.modalities.items()
    }
    present = {name: manifest[column].to_numpy() for name, column in masks.items()}
    labels = manifest["label"].cast(pl.Int64).to_numpy()
    return PackedSplit(folder, split, meta, labels, tuple(manifest["id"]), arrays, present)


def _reopened(folder: Path, split: Split, rows: np.ndarray | None) -> PackedSplit:
    opened = open_split(folder, split)
    return opened if rows is None else opened.only(rows)


def existing(path: Path) -> Path:
    """`path`, which preprocess has written.

    Raises:
        MissingInput: it has not.
    """
    if not path.is_file():
        raise MissingInput(f"{path} is missing: run preprocess first")
    return path


def _open(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    existing(path)
    try:
        array: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise InputError(f"{path} is damaged, run preprocess again: {error}") from error
    if array.shape != shape:
        raise InputError(f"{path} has shape {array.shape}, not the declared {shape}: run preprocess again")
    return array
