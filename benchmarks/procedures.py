"""A training epoch in plain PyTorch, as users write it: in random order, by BSS, and as the authors' code does it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from bss import CurriculumSampler
from bss.data.datasets.dataset import Dataset
from bss.data.kinds.kind import Kind
from bss.data.packed import PackedSplit
from bss.data.packing.pack import raw_values
from bss.model import MultimodalModel

Item = tuple[dict[str, Tensor], Tensor, Tensor]
NUM_OBSERVED = 1024


class Packed(TorchDataset[Item]):
    """Batches of packed samples."""

    def __init__(self, split: PackedSplit) -> None:
        self.split = split

    def __getitem__(self, rows: np.ndarray) -> Item:
        inputs = {name: torch.from_numpy(values) for name, values in self.split.read(rows).items()}
        return inputs, torch.from_numpy(self.split.labels[rows]), torch.from_numpy(rows)


class Decoded(TorchDataset[Item]):
    """One sample, decoded from its raw files each time it is asked for."""

    def __init__(self, dataset: Dataset, split: PackedSplit) -> None:
        root, manifest = dataset.locate(), pl.read_parquet(split.folder / split.split / "manifest.parquet")
        self.kinds: dict[str, Kind] = dict(dataset.modalities)
        self.values = {
            name: raw_values(manifest[name], Path(root), paths=kind.paths) for name, kind in self.kinds.items()
        }
        self.labels = split.labels

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, row: int) -> Item:
        inputs = {name: torch.from_numpy(kind.read(self.values[name][row])) for name, kind in self.kinds.items()}
        return inputs, torch.tensor(self.labels[row]), torch.tensor(row)


@dataclass
class Training:
    """A model under training and how its arithmetic runs."""

    model: MultimodalModel
    optimizer: torch.optim.Optimizer
    batch_size: int
    device: str = "cpu"
    num_workers: int = 0
    """Processes that decode samples for the released procedure."""

    def placed(self, batch: Item) -> Item:
        """A batch on the device, but for its rows."""
        inputs, labels, rows = batch
        return {name: values.to(self.device) for name, values in inputs.items()}, labels.to(self.device), rows

    def forward(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """The logits, float32."""
        logits: dict[str, Tensor] = self.model(inputs).logits
        return {name: values.float() for name, values in logits.items()}

    def steps(
        self, batches: Iterator[Item], after: Callable[[Tensor, dict[str, Tensor], Tensor], None] | None
    ) -> float:
        """One step a batch; the mean loss."""
        self.model.train()
        losses = []
        for inputs, labels, rows in map(self.placed, batches):
            logits = self.forward(inputs)
            loss = torch.stack([cross_entropy(values, labels) for values in logits.values()]).sum()
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimizer.step()
            losses.append(loss.item())
            if after:
                after(rows, {name: values.detach() for name, values in logits.items()}, labels)
        return float(np.mean(losses))


def in_order(split: PackedSplit, order: np.ndarray, batch_size: int) -> Iterator[Item]:
    """Packed batches of samples in an order."""
    parts = np.split(order, range(batch_size, len(order), batch_size))
    return iter(DataLoader(Packed(split), sampler=parts, batch_size=None))


def random_epoch(training: Training, split: PackedSplit, epoch: int) -> float:
    """An epoch in random order."""
    order = np.random.default_rng(epoch).permutation(len(split))
    return training.steps(in_order(split, order, training.batch_size), None)


def online_epoch(
    training: Training, split: PackedSplit, sampler: CurriculumSampler, observed: int = NUM_OBSERVED
) -> float:
    """An epoch by a sampler that observes the logits of training, at least `observed` samples at a time."""
    kept: list[tuple[Tensor, dict[str, Tensor], Tensor]] = []

    def hand_over() -> None:
        rows, logits, labels = zip(*kept, strict=True)
        together = {name: torch.cat([of[name] for of in logits]) for name in logits[0]}
        sampler.observe(torch.cat(rows), together, torch.cat(labels))
        kept.clear()

    def keep(rows: Tensor, logits: dict[str, Tensor], labels: Tensor) -> None:
        kept.append((rows, logits, labels))
        if sum(len(held) for held, _, _ in kept) >= observed:
            hand_over()

    loss = training.steps(in_order(split, sampler.sequence(), training.batch_size), keep)
    if kept:
        hand_over()
    sampler.end_epoch()
    return loss


def pass_epoch(training: Training, split: PackedSplit, sampler: CurriculumSampler) -> float:
    """An epoch by a sampler that observes a clean pass over all samples afterwards."""
    loss = training.steps(in_order(split, sampler.sequence(), training.batch_size), None)
    logits, labels, rows = zip(*clean_pass(training, split), strict=True)
    together = {name: torch.cat([of[name] for of in logits]) for name in logits[0]}
    sampler.observe(torch.cat(rows), together, torch.cat(labels))
    sampler.end_epoch()
    return loss


def clean_pass(training: Training, split: PackedSplit) -> Iterator[Item]:
    """Logits of all samples in eval mode without gradients."""
    training.model.eval()
    with torch.inference_mode():
        for inputs, labels, rows in in_order(split, np.arange(len(split)), training.batch_size):
            yield training.forward(inputs), labels, rows


def released_epoch(training: Training, raw: Decoded, sampler: CurriculumSampler) -> float:
    """An epoch as in the authors' code: a pass in train mode with gradients on scores every sample, then one trains.

    Both decode each sample anew, and each has a new loader.
    """
    training.model.train()
    loading = {"batch_size": training.batch_size, "num_workers": training.num_workers}
    for inputs, labels, rows in map(training.placed, DataLoader(raw, **loading)):
        logits = training.forward(inputs)
        sampler.observe(rows, {name: values.detach() for name, values in logits.items()}, labels)
    sampler.end_epoch()
    order = sampler.sequence().tolist()
    return training.steps(iter(DataLoader(raw, sampler=order, **loading)), None)
