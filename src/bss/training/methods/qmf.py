"""Quality-aware fusion: each modality weighs by its energy, which is to follow how hard a sample has been for it."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from bss.training.methods.joint import Joint
from bss.training.methods.method import Record
from bss.types import FUSED

if TYPE_CHECKING:
    from torch import Tensor

    from bss.model import MultimodalModel, Outputs
    from bss.training.loader import Batch
    from bss.training.methods._late_fusion import Features
    from bss.training.trainer import Trainer

TEMPERATURE = 10.0
"""What the log-sum-exp of the logits is divided by."""


class QMF(Joint):
    """The joint loss with the fused logits sum_m conf_m z_m, and rank_weight times a loss of the order of conf.

    conf_m = logsumexp(z_m) / 10. Let h be the sum of a sample's cross-entropies of modality m at all steps so far, t
    that h scaled to [0, 1] over the training split, and j the sample after i in the batch, the first after the last.
    The order costs modality m the mean over the batch of

        max(0, sign(t_i - t_j) (conf_i - conf_j) + |t_i - t_j|):

    the sample that has been harder is to be less sure, by as much as it has been harder. Source: QMF (ICML 2023) by
    its code. `released` subtracts the margin |t_i - t_j|, so that up to it the wrong order costs nothing.
    """

    record: ClassVar[Record] = Record(paper="QMF, ICML 2023", families=("fusion", "loss"), extra="the heads twice")
    grid: ClassVar[Mapping[str, tuple[object, ...]]] = {"rank_weight": (0.1, 1.0, 10.0)}
    variant: Literal["published", "released"] = "published"
    rank_weight: Annotated[float, Field(ge=0)] = 1.0
    """Weight of the order's loss; 0 leaves the cross-entropies alone."""
    confidence_learns: bool = False
    """Whether the fused loss trains the confidences too, or takes them as they are."""

    def prepare(self, model: "MultimodalModel") -> None:
        """The sum of the logits by confidence as the fusion."""
        from bss.training.methods._late_fusion import LateFusion

        model.fusion = LateFusion(model, self._fused)

    def step(self, trainer: "Trainer", batch: "Batch") -> "tuple[Outputs, Tensor]":
        """Joint's step, with the loss of the order."""
        outputs = trainer.forward(batch.inputs)
        loss = self.loss(outputs.logits, batch.labels)
        if self.rank_weight:
            for name, z in outputs.logits.items():
                if name != FUSED:
                    difficulty = _difficulty(trainer.memory, name, z.detach(), batch)
                    loss = loss + self.rank_weight * self.ranking(confidence(z), difficulty, z.any(dim=1))
        return self.descend(trainer, batch, outputs, loss)

    def ranking(self, sure: "Tensor", difficulty: "Tensor", there: "Tensor") -> "Tensor":
        """The loss of the order of one modality's confidences, a scalar of at least 0.

        Args:
            sure: conf, (B,).
            difficulty: t, (B,), in [0, 1].
            there: whether a sample has the modality, (B,); a pair of which one lacks it costs nothing.
        """
        gap = difficulty - difficulty.roll(-1)
        margin = -gap.abs() if self.variant == "released" else gap.abs()
        wrong = (gap.sign() * (sure - sure.roll(-1)) + margin).clamp(min=0)
        return (wrong * (there & there.roll(-1))).mean()

    def _fused(self, logits: "Tensor", present: "Tensor", features: "Features") -> "Tensor":
        weights = confidence(logits)
        return ((weights if self.confidence_learns else weights.detach())[..., None] * logits).sum(dim=0)


def confidence(logits: "Tensor") -> "Tensor":
    """conf (...), from logits (..., C)."""
    return logits.logsumexp(dim=-1) / TEMPERATURE


def _difficulty(memory: "dict[str, Tensor]", name: str, logits: "Tensor", batch: "Batch") -> "Tensor":
    """t (B,) of one modality, with the losses of this step: `memory` has "history of NAME" (the samples so far,).

    Args:
        memory: `Trainer.memory`.
        name: of the modality.
        logits: its logits, (B, C); zeros of what a sample lacks, which adds nothing then.
        batch: that they are of.
    """
    import torch
    from torch.nn.functional import cross_entropy, pad

    key, rows = f"history of {name}", batch.indices.to(logits.device)
    history = memory.get(key, torch.zeros(0, device=logits.device))
    history = pad(history, (0, max(0, int(batch.indices.max()) + 1 - len(history))))
    losses = cross_entropy(logits, batch.labels, reduction="none") * logits.any(dim=1)
    memory[key] = history = history.index_add(0, rows, losses)
    low, high = history.aminmax()
    spread = high - low
    return (history[rows] - low) / spread.where(spread > 0, 1.0)
