"""MCDAL: pairs on which further classifiers of the same features can disagree."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from pydantic import Field

from bss.curriculum.acquisitions.acquisition import Acquisition, Pool
from bss.curriculum.order import largest
from bss.registry import Count, Positive
from bss.types import FUSED

if TYPE_CHECKING:
    from torch import Tensor


class Mcdal(Acquisition):
    """The largest discrepancy between the model's classifier and two that disagree as much as the labels allow.

    Source: MCDAL, TNNLS 2022 (arXiv 2107.11049). Published: the two learn beside the model; here they learn after it,
    on its features, standardised, which no gradient reaches in either case.
    """

    per: Literal["fused", "modality", "sum"] = "fused"
    """Classifiers of the fusion (published), of each modality, added up, or of all of these (inferred)."""
    steps: Count = 500
    """Steps of the two classifiers."""
    lr: Positive = 0.1
    """Learning rate of sgd."""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """Of sgd."""
    weight_decay: Annotated[float, Field(ge=0)] = 5e-4
    """Of sgd."""
    batch_size: Count = 128
    """Labelled and as many unlabelled pairs of a step."""
    discrepancy: Annotated[float, Field(ge=0)] = 1.0
    """Weight of the disagreement on the unlabelled pairs."""

    def choose(self, pool: Pool, num: int, generator: np.random.Generator) -> np.ndarray:
        """The pairs of the largest discrepancy."""
        import torch

        evidence, total = pool.evidence, torch.zeros(len(pool.unlabelled), dtype=torch.float64)
        everywhere = np.arange(len(pool.is_labelled))
        for output in self._outputs(evidence.modalities):
            of_output = pool.features(everywhere, None if output == FUSED else [output])
            first, second = self._disagreeing(of_output, evidence.logits[output].float(), pool, generator)
            total += discrepancies(pool.logits(output), first, second)
        return pool.asked(largest(total.numpy(), num))

    def _outputs(self, modalities: list[str]) -> list[str]:
        return {"fused": [FUSED], "modality": modalities, "sum": [FUSED, *modalities]}[self.per]

    def _disagreeing(
        self, features: "Tensor", logits: "Tensor", pool: Pool, generator: np.random.Generator
    ) -> "tuple[Tensor, Tensor]":
        """The logits (U, C), float64, of the two classifiers for the unlabelled pairs."""
        import torch
        from torch.nn.functional import cross_entropy

        features = features.sub_(features.mean(dim=0)).div_(features.std(dim=0).clamp(min=1e-6))
        labelled = np.flatnonzero(pool.is_labelled)
        shape = (2, logits.shape[1], features.shape[1])
        start = generator.standard_normal(shape, dtype=np.float32) / np.sqrt(shape[2])
        weights = torch.from_numpy(start.astype(np.float32)).requires_grad_()
        biases = torch.zeros(2, 1, shape[1], requires_grad=True)
        sgd = torch.optim.SGD([weights, biases], self.lr, self.momentum, weight_decay=self.weight_decay)

        def classified(rows: "Tensor") -> "Tensor":
            return features[rows] @ weights.mT + biases

        drawn = zip(_batches(labelled, self, generator), _batches(pool.unlabelled, self, generator), strict=True)
        for known, unknown in drawn:
            labels = pool.evidence.labels[known]
            for disagrees in (False, True):
                loss = sum(cross_entropy(each, labels) for each in classified(known))
                if disagrees:
                    first, second = classified(unknown)
                    loss = loss - self.discrepancy * discrepancies(logits[unknown], first, second).mean() / shape[1]
                sgd.zero_grad()
                loss.backward()  # type: ignore[union-attr]
                sgd.step()
        with torch.no_grad():
            first, second = classified(torch.from_numpy(pool.unlabelled)).double()
        return first, second


def discrepancies(main: "Tensor", first: "Tensor", second: "Tensor") -> "Tensor":
    """|p1 - p2| + |p - p1| + |p - p2| of each sample, sums over classes, (B,), in [0, 6], from logits (B, C)."""
    p, p1, p2 = (logits.softmax(dim=1) for logits in (main, first, second))
    return ((p1 - p2).abs() + (p - p1).abs() + (p - p2).abs()).sum(dim=1)


def _batches(rows: np.ndarray, settings: Mcdal, generator: np.random.Generator) -> "Iterator[Tensor]":
    """As many batches as there are steps: shuffled passes over the rows, one after the other."""
    import torch

    size = min(settings.batch_size, len(rows))
    order = rows[:0]
    for _ in range(settings.steps):
        if len(order) < size:
            order = generator.permutation(rows)
        yield torch.from_numpy(order[:size])
        order = order[size:]
