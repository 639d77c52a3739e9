"""Multimodal negative learning: the surer modality teaches the other one which classes it is not."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from bss.training.methods._means import mean_of_logits
from bss.training.methods.joint import Joint
from bss.training.methods.method import Record
from bss.types import FUSED

if TYPE_CHECKING:
    from torch import Tensor

    from bss.model import MultimodalModel, Outputs
    from bss.training.loader import Batch
    from bss.training.trainer import Trainer


class MNL(Joint):
    """The joint loss and, from `starts` on, a loss of the classes that a sample is not.

    The fused output is the mean of the modalities' logits z_m. Let y be the true class, j the likeliest other class
    of the fusion, xi_m = z_m[y] - z_m[j] and p_m = softmax(z_m). Modality s may guide t where xi_s > xi_t and
    p_s[y] > p_t[y]; of several the one with the largest xi does. To the loss comes negative_weight times the mean
    over the batch of the sum over every guided t of

        - sum over c other than y of p_s[c] log p_t[c],    p_s without gradient.

    A modality that a sample lacks neither guides nor is guided. Source: MNL (NeurIPS 2025). `released` adds
    -log p_t[y] of every guided t, weighs both by 1 / C, and has the later modality guide at a tie.
    """

    record: ClassVar[Record] = Record(
        paper="MNL, NeurIPS 2025", families=("loss",), extra="a few operations on the logits"
    )
    grid: ClassVar[Mapping[str, tuple[object, ...]]] = {"negative_weight": (0.35, 0.7, 1.4)}
    variant: Literal["published", "released"] = "published"
    negative_weight: Annotated[float, Field(ge=0)] = 0.7
    """Weight of the loss of the classes that a sample is not."""
    starts: Annotated[int, Field(ge=0)] = 1
    """First epoch with that loss, from 0; those before are joint training."""

    def prepare(self, model: "MultimodalModel") -> None:
        """The mean of the modalities' logits in place of the fusion."""
        mean_of_logits(model)

    def step(self, trainer: "Trainer", batch: "Batch") -> "tuple[Outputs, Tensor]":
        """One update, with the negative loss where the epoch has it."""
        outputs = trainer.forward(batch.inputs)
        loss = self.loss(outputs.logits, batch.labels)
        if trainer.epoch >= self.starts:
            loss = loss + self.negative_loss(outputs.logits, batch.labels)
        return self.descend(trainer, batch, outputs, loss)

    def negative_loss(self, logits: "Mapping[str, Tensor]", labels: "Tensor") -> "Tensor":
        """What guidance adds to the loss, a scalar; its weight is in it.

        Args:
            logits: output name -> (B, C).
            labels: (B,), int64.
        """
        import torch

        z = torch.stack([values for output, values in logits.items() if output != FUSED])
        guide, guided = self._guidance(z.detach(), logits[FUSED].detach(), labels)
        teacher = z.detach().softmax(dim=2)[guide, torch.arange(len(labels), device=z.device)]
        true = labels.expand(len(z), -1)[..., None]
        weights = (self.negative_weight * teacher).scatter(2, true, 1.0 if self.variant == "released" else 0.0)
        total = -(weights * guided[..., None] * z.log_softmax(dim=2)).sum()
        return total / (len(labels) * (z.shape[2] if self.variant == "released" else 1))

    def _guidance(self, z: "Tensor", fused: "Tensor", labels: "Tensor") -> "tuple[Tensor, Tensor]":
        """Of each modality and sample the place of its guide, and whether it has one; both (M, B)."""
        import torch

        true = labels.expand(len(z), -1)[..., None]
        rival = fused.scatter(1, labels[:, None], -torch.inf).argmax(dim=1).expand(len(z), -1)[..., None]
        margin = (z.gather(2, true) - z.gather(2, rival)).squeeze(2)
        sure = z.softmax(dim=2).gather(2, true).squeeze(2)
        there = z.any(dim=2)  # logits of what a sample lacks are zero
        # Places: the one that would be guided, the one that would guide, the sample.
        guides = (margin > margin[:, None]) & (sure > sure[:, None])
        if self.variant == "released":
            later = torch.ones(len(z), len(z), dtype=torch.bool, device=z.device).triu(1)[..., None]
            guides |= later & (margin >= margin[:, None]) & (sure >= sure[:, None])
        guides &= there & there[:, None]
        return margin.expand_as(guides).masked_fill(~guides, -torch.inf).argmax(dim=1), guides.any(dim=1)
