"""The progress of one epoch: the losses so far, and the outputs of the model that a sampler waits for."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from math import nan
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from bss.model import Outputs
from bss.training.loader import Batch

NUM_OBSERVED = 1024
"""Samples handed over at a time, at least: one by one batches cost more than their step where models are small."""


class Observation(NamedTuple):
    """The outputs of a model for B samples, in the order that `CurriculumSampler.observe` takes."""

    indices: Tensor
    """(B,), int64, of the training split, on the CPU."""
    logits: dict[str, Tensor]
    """Output (a modality or "fused") -> (B, C)."""
    labels: Tensor
    """(B,), int64."""
    features: dict[str, Tensor]
    """Modality -> (B, dim)."""

    @classmethod
    def joined(cls, parts: "Sequence[Observation]") -> "Observation":
        """One observation of the samples of all parts, in their order."""
        indices, logits, labels, features = zip(*parts, strict=True)
        return cls(torch.cat(indices), _cat(logits), torch.cat(labels), _cat(features))

    def on(self, device: torch.device) -> "Observation":
        """The same with all but the indices on a device."""
        logits, features = (
            {name: values.to(device) for name, values in group.items()} for group in (self.logits, self.features)
        )
        return Observation(self.indices, logits, self.labels.to(device), features)


Observe = Callable[[Observation], None]


class Epoch:
    """Mean losses and observations of the batches of an epoch so far."""

    def __init__(self) -> None:
        self.num_batches = 0
        self._num_samples: dict[str, int] = {}
        self._sums: dict[str, Tensor] = {}
        self._observed: list[Observation] = []

    def add(self, outputs: Outputs, batch: Batch, observe: Observe | None) -> None:
        """Count the losses of a batch, and hand its observation over to `observe`, together with others."""
        for output, logits in outputs.logits.items():
            seen = ~batch.hidden[output] if batch.hidden and output in batch.hidden else None
            labels = batch.labels if seen is None else batch.labels[seen]
            loss = cross_entropy(logits if seen is None else logits[seen], labels, reduction="sum")
            self._sums[output] = self._sums.get(output, torch.zeros_like(loss)) + loss
            self._num_samples[output] = self._num_samples.get(output, 0) + len(labels)
        self.num_batches += 1
        if observe and (observation := _wholly_seen(outputs, batch)):
            self._observed.append(observation)
            if sum(len(part.labels) for part in self._observed) >= NUM_OBSERVED:
                self._hand_over(observe)

    def end(self, observe: Observe | None) -> dict[str, float]:
        """The mean loss of each output, NaN where all was hidden; the rest goes to `observe`."""
        if observe and self._observed:
            self._hand_over(observe)
        counted = ((output, float(total), self._num_samples[output]) for output, total in self._sums.items())
        return {output: total / number if number else nan for output, total, number in counted}

    def _hand_over(self, observe: Observe) -> None:
        observe(Observation.joined(self._observed))
        self._observed = []

    def state_dict(self) -> dict[str, Any]:
        """The state from which `from_state` makes the same epoch."""
        return {
            "num_batches": self.num_batches,
            "num_samples": dict(self._num_samples),
            "sums": dict(self._sums),
            "observed": list(Observation.joined(self._observed)) if self._observed else None,
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any], device: torch.device) -> "Epoch":
        """The epoch that `state_dict` was taken of."""
        epoch = cls()
        epoch.num_batches, epoch._num_samples = state["num_batches"], dict(state["num_samples"])
        epoch._sums = {name: values.to(device) for name, values in state["sums"].items()}
        if state["observed"] is not None:
            epoch._observed = [Observation(*state["observed"]).on(device)]
        return epoch


def _wholly_seen(outputs: Outputs, batch: Batch) -> Observation | None:
    """The observation of the samples of which nothing was hidden; None where there is none."""
    if not batch.hidden:
        return Observation(batch.indices, outputs.logits, batch.labels, outputs.features)
    rows = (~torch.stack(list(batch.hidden.values())).any(dim=0)).nonzero().flatten()
    if not len(rows):
        return None
    there = rows.to(batch.labels.device)
    logits, features = ({name: values[there] for name, values in group.items()} for group in outputs)
    return Observation(batch.indices[rows], logits, batch.labels[there], features)


def _cat(groups: Iterable[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    parts = list(groups)
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
