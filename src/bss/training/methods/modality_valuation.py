"""Modality valuation: a modality that adds little to the prediction of a sample is shown more often by itself."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np
from pydantic import Field

from bss.training.methods.joint import Joint
from bss.training.methods.method import Order, Record

if TYPE_CHECKING:
    from torch import Tensor

    from bss.measure.evidence import Evidence
    from bss.training.trainer import Trainer

FEWER = (-0.1, 0.4, 1.0)
"""Contributions from which on a sample gets a copy less; 1 is the fair share in a right prediction."""


class ModalityValuation(Joint):
    """Copies of a sample that show one modality alone, the more the less that modality contributes to it.

    The contributions are measured before every epoch.

    v(S) is |S| where the fusion is right with the features of S, all others being zeros, and 0 where it is wrong. The
    contribution is the Shapley value: phi_m = sum over S without m of |S|! (M - |S| - 1)! / M! (v(S + m) - v(S)), of
    two modalities (v(a) + v(av) - v(v)) / 2. A sample has 3 copies with all modalities but m hidden where
    phi_m < -0.1, 2 where phi_m < 0.4, 1 where phi_m < 1. Of a sample that lacks a modality only the others are
    valued.

    The scheduler's order stays: copy j of a sample comes j `spacing` places after it, where the places of the
    scheduler's sequence are counted. The evidence is that of the samples themselves, not of their copies.

    Source: Wei et al. (CVPR 2024), sample level. Published, copies and samples are shuffled, and nothing but the
    fusion is trained (`unimodal_weight` 0).
    """

    record: ClassVar[Record] = Record(
        paper="SMV, CVPR 2024",
        families=("data",),
        extra="up to 1 + 3M times the steps; a pass an epoch",
        benchmark={"CREMA-D": 75.85, "KS": 68.01, "VGGSound": 48.25},
    )
    grid: ClassVar[Mapping[str, tuple[object, ...]]] = {"unimodal_weight": (0.0, 1.0)}
    strategies: ClassVar[tuple[str, ...]] = ("ddp",)
    starts: Annotated[int, Field(ge=0)] = 0
    """First epoch with copies, from 0; those before are joint training."""
    spacing: Annotated[int, Field(ge=0)] = 64
    """From `batch_size` on no two copies of a draw that show the same modality are in one batch."""

    def begin_epoch(
        self,
        trainer: "Trainer",
        epoch: int,
        evidence: "Callable[[], Evidence]",
        validation: "Callable[[], Evidence]",
    ) -> None:
        """Count the copies: `memory` has modality -> (N,), how many of each sample."""
        import torch

        from bss.measure.shapley import shapley_values

        if epoch < self.starts:
            return
        clean = evidence()
        features = clean.needed_features(self.name)
        present = {name: features[name].any(dim=1) for name in clean.modalities}
        thresholds = torch.tensor(FEWER, dtype=torch.float64)
        for name, phi in shapley_values(_values(trainer, features, clean.labels, present)).items():
            copies = len(FEWER) - torch.bucketize(phi, thresholds, right=True)
            trainer.memory[name] = (copies * present[name]).to(trainer.runtime.device, torch.uint8)

    def order(self, sequence: np.ndarray, memory: "Mapping[str, Tensor]") -> Order:
        """The sequence with the copies in it."""
        if not memory:
            return Order(sequence)
        whole = np.arange(len(sequence))
        draws, keys, alone = [whole], [whole], [np.full(len(sequence), -1)]
        for place, copies in enumerate(memory.values()):
            wanted = copies.cpu().numpy()[sequence]
            for number in range(1, len(FEWER) + 1):
                draws.append(np.flatnonzero(wanted >= number))
                keys.append(draws[-1] + number * self.spacing)
                alone.append(np.full(len(draws[-1]), place))
        order = np.argsort(np.concatenate(keys), kind="stable")
        shown = np.concatenate(alone)[order]
        hidden = {name: (shown >= 0) & (shown != place) for place, name in enumerate(memory)}
        return Order(sequence[np.concatenate(draws)[order]], hidden)


def _values(
    trainer: "Trainer", features: Mapping[str, "Tensor"], labels: "Tensor", present: Mapping[str, "Tensor"]
) -> "dict[frozenset[str], Tensor]":
    """Set of modalities -> v (N,), int64: how many of them a sample has, where the fusion is right with them."""
    from bss.training.shapley import by_subset, fusion_of

    fusion = fusion_of(trainer.model, trainer.runtime, trainer.method.name)

    def is_right(logits: "Tensor", rows: slice) -> "Tensor":
        return logits.argmax(dim=1).cpu() == labels[rows]

    right = by_subset(fusion, {name: features[name] for name in present}, is_right, trainer.runtime)
    return {some: hits * sum(present[name].long() for name in some) for some, hits in right.items()}
