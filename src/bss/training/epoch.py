"""What the steps of one epoch leave: mean losses, and what the model said of each sample."""

from collections.abc import Callable, Iterable, Mapping
from math import nan
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from bss.model import Outputs
from bss.training.loader import Batch

Observe = Callable[[Tensor, dict[str, Tensor], Tensor, dict[str, Tensor]], None]
"""Takes the indices, logits, labels and features of some samples."""

_Seen = tuple[Tensor, dict[str, Tensor], Tensor, dict[str, Tensor]]
NUM_OBSERVED = 1024
"""Samples handed over at a time, at least: one by one batches cost more than their step where models are small."""


class Epoch:
    """What an epoch has gathered so far."""

    def __init__(self) -> None:
        self.num_batches = 0
        self._num_samples: dict[str, int] = {}
        self._sums: dict[str, Tensor] = {}
        self._observed: list[_Seen] = []

    def add(self, outputs: Outputs, batch: Batch, observe: Observe | None) -> None:
        """Count what the model said of a batch, and hand it to `observe` with others."""
        for output, logits in outputs.logits.items():
            seen = ~batch.hidden[output] if batch.hidden and output in batch.hidden else None
            labels = batch.labels if seen is None else batch.labels[seen]
            loss = cross_entropy(logits if seen is None else logits[seen], labels, reduction="sum")
            self._sums[output] = self._sums.get(output, torch.zeros_like(loss)) + loss
            self._num_samples[output] = self._num_samples.get(output, 0) + len(labels)
        self.num_batches += 1
        if observe and (told := _wholly_seen(outputs, batch)):
            self._observed.append(told)
            if sum(len(labels) for _, _, labels, _ in self._observed) >= NUM_OBSERVED:
                self._hand_over(observe)

    def end(self, observe: Observe | None) -> dict[str, float]:
        """The mean loss of each output, NaN where all was hidden; the rest goes to `observe`."""
        if observe and self._observed:
            self._hand_over(observe)
        counted = ((output, float(total), self._num_samples[output]) for output, total in self._sums.items())
        return {output: total / number if number else nan for output, total, number in counted}

    def _hand_over(self, observe: Observe) -> None:
        observe(*self._joined())
        self._observed = []

    def _joined(self) -> _Seen:
        indices, logits, labels, features = zip(*self._observed, strict=True)
        return torch.cat(indices), _cat(logits), torch.cat(labels), _cat(features)

    def state_dict(self) -> dict[str, Any]:
        """What `from_state` goes on from."""
        return {
            "num_batches": self.num_batches,
            "num_samples": dict(self._num_samples),
            "sums": dict(self._sums),
            "observed": list(self._joined()) if self._observed else None,
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any], device: torch.device) -> "Epoch":
        """The epoch that `state_dict` was taken of."""
        epoch = cls()
        epoch.num_batches, epoch._num_samples = state["num_batches"], dict(state["num_samples"])
        epoch._sums = {name: values.to(device) for name, values in state["sums"].items()}
        if state["observed"] is not None:
            indices, logits, labels, features = state["observed"]
            moved = ({name: values.to(device) for name, values in group.items()} for group in (logits, features))
            epoch._observed = [(indices, next(moved), labels.to(device), next(moved))]
        return epoch


def _wholly_seen(outputs: Outputs, batch: Batch) -> _Seen | None:
    """Indices, logits, labels and features of the samples of which nothing was hidden."""
    if not batch.hidden:
        return batch.indices, outputs.logits, batch.labels, outputs.features
    rows = (~torch.stack(list(batch.hidden.values())).any(dim=0)).nonzero().flatten()
    if not len(rows):
        return None
    there = rows.to(batch.labels.device)
    logits, features = ({name: values[there] for name, values in group.items()} for group in outputs)
    return batch.indices[rows], logits, batch.labels[there], features


def _cat(groups: Iterable[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    parts = list(groups)
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
