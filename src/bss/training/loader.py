"""Batches of packed samples in a given order."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from itertools import pairwise
from typing import NamedTuple, cast

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from bss.data.packed import PackedSplit
from bss.training.runtime import Runtime, memory_explained
from bss.types import PRESENT

FREE_SHARE = 4
"""Divisor of the free memory of a device: a split takes at most that share of it unasked."""


class Batch(NamedTuple):
    """Packed samples on the device."""

    inputs: dict[str, Tensor]
    """Modality -> (B, *shape), as packed; where ranks share the batch, the rows of this one alone."""
    labels: Tensor
    """(B,), int64, of the whole batch."""
    indices: Tensor
    """(B,), int64, of the split, on the CPU, of the whole batch."""
    hidden: dict[str, Tensor] | None = None
    """Modality -> (B,), bool, on the CPU, of the whole batch: whether the method keeps it from the model."""

    def of(self, modalities: Iterable[str]) -> dict[str, Tensor]:
        """The inputs of some modalities."""
        names = {part for name in modalities for part in (name, f"{name}{PRESENT}")}
        return {name: values for name, values in self.inputs.items() if name in names}


@dataclass(frozen=True)
class Resident(PackedSplit):
    """A split whose arrays lie on the device, where a batch is gathered without a loader."""

    tensors: Mapping[str, Tensor] = field(default_factory=dict)

    def only(self, rows: np.ndarray) -> "Resident":
        """As that of `PackedSplit`, with the rows on the device."""
        part = {name: values[torch.from_numpy(rows).to(values.device)] for name, values in self.tensors.items()}
        return replace(cast("Resident", super().only(rows)), tensors=part)

    def batch(self, rows: np.ndarray, indices: np.ndarray) -> Batch:
        """The inputs of some rows, and the labels of others, as `Batch` has them."""
        device = next(iter(self.tensors.values())).device
        places = torch.from_numpy(rows).to(device)
        inputs = {name: values[places] for name, values in self.tensors.items()}
        return Batch(inputs, torch.from_numpy(self.labels[indices]), torch.from_numpy(indices))


def cached(split: PackedSplit, mode: str, runtime: Runtime) -> PackedSplit:
    """A split with its arrays where they are wanted; what is read from them is the same.

    Args:
        split: as it was opened.
        mode: `device`, `memory`, `disk`, or `auto`: the device if they take at most a quarter of what is free there.
        runtime: whose device it is.
    """
    num_bytes = sum(array.nbytes for array in split.arrays.values())
    if mode == "disk" or (mode == "auto" and num_bytes > _free_bytes(runtime.device) / FREE_SHARE):
        return split
    if mode == "memory":
        return replace(split, arrays={name: np.array(array) for name, array in split.arrays.items()})
    with memory_explained("train", "set flow.cache to memory or disk"):
        arrays = {**split.arrays, **{f"{name}{PRESENT}": there for name, there in split.present.items()}}
        tensors = {name: torch.tensor(array).to(runtime.device) for name, array in arrays.items()}
    return Resident(**{item.name: getattr(split, item.name) for item in fields(split)}, tensors=tensors)


def _free_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


class _Rows(Dataset[Batch]):
    def __init__(self, split: PackedSplit) -> None:
        self.split = split

    def __getitem__(self, wanted: tuple[np.ndarray, np.ndarray]) -> Batch:
        rows, indices = wanted
        inputs = {name: torch.from_numpy(values) for name, values in self.split.read(rows).items()}
        return Batch(inputs, torch.from_numpy(self.split.labels[indices]), torch.from_numpy(indices))


def batches(
    split: PackedSplit,
    indices: np.ndarray,
    batch_size: int,
    runtime: Runtime,
    *,
    skip: int = 0,
    shared: bool = False,
    hidden: Mapping[str, np.ndarray] | None = None,
    cuts: Sequence[int] = (),
) -> Iterator[Batch]:
    """The samples in the order of the indices, `batch_size` at a time.

    Args:
        split: that they belong to.
        indices: of the samples, in order.
        batch_size: samples of a whole batch.
        runtime: places them on the device.
        skip: number of batches to leave out at the beginning.
        shared: each rank reads its share of a batch instead of all of it.
        hidden: modality -> (n,), whether it is masked for the model, as if the sample lacked it.
        cuts: places where a batch ends, whatever its size.
    """
    parts = batch_indices(indices, batch_size, cuts)[skip:]
    read = _read(split, [(runtime.share(part) if shared else part, part) for part in parts], runtime)
    if not hidden:
        yield from read
        return
    columns = {name: batch_indices(values, batch_size, cuts)[skip:] for name, values in hidden.items()}
    for place, batch in enumerate(read):
        away = {name: values[place] for name, values in columns.items()}
        absent = {name: runtime.share(values) if shared else values for name, values in away.items()}
        present = {
            f"{name}{PRESENT}": ~torch.from_numpy(values).to(runtime.device) for name, values in absent.items()
        }
        for name, there in present.items():
            present[name] = there & batch.inputs.get(name, there)
        yield Batch(
            {**batch.inputs, **present},
            batch.labels,
            batch.indices,
            {name: torch.from_numpy(values) for name, values in away.items()},
        )


def _read(split: PackedSplit, wanted: list[tuple[np.ndarray, np.ndarray]], runtime: Runtime) -> Iterator[Batch]:
    """A batch for each (rows to read, whole batch)."""
    if isinstance(split, Resident):
        for rows, part in wanted:
            inputs, labels, of_whole, _ = split.batch(rows, part)
            yield Batch(*runtime.place(inputs, labels), of_whole)
        return
    loader = DataLoader(
        _Rows(split),
        sampler=wanted,
        batch_size=None,
        num_workers=runtime.num_workers,
        pin_memory=runtime.device.type == "cuda",
    )
    for inputs, labels, of_whole, _ in loader:
        yield Batch(*runtime.place(inputs, labels), of_whole)


def batch_indices(indices: np.ndarray, batch_size: int, cuts: Sequence[int] = ()) -> list[np.ndarray]:
    """The indices cut into batches, and at the cuts.

    A batch of one where a last one may be short joins its neighbour, over a cut too: batch normalisation needs two.
    """
    if not len(indices):
        return []
    groups = list(pairwise([0, *cuts, len(indices)]))
    starts = [start for first, last in groups for start in range(first, last, batch_size)]
    lonely = {last - 1 for first, last in groups if (last - first) % batch_size == 1 % batch_size}
    # Where the very first goes, the second begins at 0 in its place.
    return np.split(indices, [start for start in starts if start not in lonely][1:])
