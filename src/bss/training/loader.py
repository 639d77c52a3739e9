"""Batches of packed samples in a given order."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from bss.data.packed import PackedSplit
from bss.training.runtime import Runtime


class Batch(NamedTuple):
    """Packed samples on the device."""

    inputs: dict[str, Tensor]
    """Modality -> (B, *shape), as packed; where ranks share the batch, the rows of this one alone."""
    labels: Tensor
    """(B,), int64, of the whole batch."""
    indices: Tensor
    """(B,), int64, of the split, on the CPU, of the whole batch."""


class _Rows(Dataset[Batch]):
    def __init__(self, split: PackedSplit) -> None:
        self.split = split

    def __getitem__(self, wanted: tuple[np.ndarray, np.ndarray]) -> Batch:
        rows, indices = wanted
        inputs = {name: torch.from_numpy(values) for name, values in self.split.read(rows).items()}
        return Batch(inputs, torch.from_numpy(self.split.labels[indices]), torch.from_numpy(indices))


def batches(
    split: PackedSplit, indices: np.ndarray, batch_size: int, runtime: Runtime, *, skip: int = 0, shared: bool = False
) -> Iterator[Batch]:
    """The samples in the order of the indices, `batch_size` at a time.

    Args:
        split: where they lie.
        indices: of the samples, in order.
        batch_size: of a whole batch.
        runtime: what places them.
        skip: number of batches to leave out at the beginning.
        shared: each rank reads its share of a batch instead of all of it.
    """
    parts = batch_indices(indices, batch_size)[skip:]
    loader = DataLoader(
        _Rows(split),
        sampler=[(runtime.share(part) if shared else part, part) for part in parts],
        batch_size=None,
        num_workers=runtime.settings.num_workers,
        pin_memory=runtime.device.type == "cuda",
    )
    for inputs, labels, of_whole in loader:
        yield Batch(*runtime.place(inputs, labels), of_whole)


def batch_indices(indices: np.ndarray, batch_size: int) -> list[np.ndarray]:
    """The indices cut into batches. A last batch of one joins the one before: batch normalisation needs two."""
    starts = list(range(0, len(indices), batch_size))
    if len(starts) > 1 and len(indices) - starts[-1] == 1:
        starts.pop()
    return np.split(indices, starts[1:])
