"""Trusted multi-view classification: each modality gives evidence, and opinions are combined by their uncertainty."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar

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


class TMC(Joint):
    """Modality m's evidence is e = softplus(z_m), its opinion the Dirichlet distribution of alpha = e + 1.

    The fused opinion combines all by Dempster's rule, see `_opinions.combined`; the fused logits are log alpha, whose
    softmax is its mean, alpha / S. The loss of an opinion is the mean over the batch of

        digamma(S) - digamma(alpha_y) + strength KL(Dir(alpha~) || Dir(1)),    strength = min(1, epoch / anneal),

    where alpha~ has 1 at the true class y; the loss is their sum, by joint's weights. Source: TMC (ICLR 2021) by its
    code.
    """

    record: ClassVar[Record] = Record(paper="TMC, ICLR 2021", families=("fusion", "loss"), extra="the heads twice")
    grid: ClassVar[Mapping[str, tuple[object, ...]]] = {"anneal": (1, 3, 10)}
    anneal: Annotated[int, Field(ge=1)] = 3
    """Epochs until the divergence has its whole strength; in the first it has none."""

    def prepare(self, model: "MultimodalModel") -> None:
        """The combined opinion as the fusion."""
        from bss.training.methods._late_fusion import LateFusion

        model.fusion = LateFusion(model, _combined)

    def step(self, trainer: "Trainer", batch: "Batch") -> "tuple[Outputs, Tensor]":
        """One update by the losses of all opinions."""
        outputs = trainer.forward(batch.inputs)
        views = self.views(trainer, outputs)
        strength = min(1.0, trainer.epoch / self.anneal)
        loss = self.evidential_loss(views, outputs.logits[FUSED], batch.labels, strength)
        return self.descend(trainer, batch, outputs, loss)

    def views(self, trainer: "Trainer", outputs: "Outputs") -> "list[Tensor]":
        """The logits (B, C) of every view; zeros of what a sample lacks."""
        return [outputs.logits[name] for name in trainer.model.branches]

    def evidential_loss(self, views: "list[Tensor]", fused: "Tensor", labels: "Tensor", strength: float) -> "Tensor":
        """The losses of the opinions of all views and of the combined one, a scalar.

        Args:
            views: logits (B, C) of each.
            fused: log alpha of the combined opinion, (B, C).
            labels: (B,), int64.
            strength: of the divergence, in [0, 1].
        """
        import torch
        from torch.nn.functional import softplus

        from bss.training.losses import sample_weights
        from bss.training.methods._opinions import risk

        weights = sample_weights(labels)
        losses = [self.fused_weight * (risk(fused.double().exp(), labels, strength) * weights).mean()]
        for logits in views:
            each = risk(softplus(logits.double()) + 1, labels, strength) * logits.any(dim=1)
            losses.append(self.unimodal_weight * (each * weights).mean())
        return torch.stack(losses).sum().float()


def _combined(logits: "Tensor", present: "Tensor", features: "Features") -> "Tensor":
    from torch.nn.functional import softplus

    from bss.training.methods._opinions import combined

    return combined(softplus(logits) * present[..., None])
