"""Disentangled gradient learning: encoders learn from each modality alone, the fusion from all as they are."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from bss.training.methods.joint import Joint
from bss.training.methods.method import Record

if TYPE_CHECKING:
    from torch import Tensor

    from bss.model import Outputs
    from bss.training.loader import Batch
    from bss.training.trainer import Trainer


class DGL(Joint):
    """The encoders follow alpha sum_m CE(g(f_m, zeros for the others)), of which the fusion g gets no gradient.

    The fusion follows fused_weight CE(g(f_1, ..., f_M)), of which no gradient reaches an encoder; each head is a
    probe that learns from the features as they are. Then the norm of all gradients is clipped, and one update taken.
    Source: DGL (ICCV 2025) and its code.
    """

    record: ClassVar[Record] = Record(
        paper="DGL, ICCV 2025",
        families=("gradient",),
        extra="M passes of the fusion, a backward pass",
        reported={"CREMA-D": 78.12, "KS": 76.28},
    )
    grid: ClassVar[Mapping[str, tuple[object, ...]]] = {"alpha": (1.0, 2.0, 4.0)}
    strategies: ClassVar[tuple[str, ...]] = ("ddp",)
    alpha: Annotated[float, Field(ge=0)] = 4.0
    """Weight of the encoders' losses; 0 gives the encoders gradients of zero."""
    max_norm: Annotated[float, Field(gt=0)] | None = 40.0
    """Largest norm of all gradients together; none where left out."""

    def step(self, trainer: "Trainer", batch: "Batch") -> "tuple[Outputs, Tensor]":
        """One update; the sum of what encoders, fusion and heads minimised."""
        from torch.nn.utils import clip_grad_norm_

        outputs = trainer.forward(batch.inputs, apart=True)
        encoders = self.encoders_loss(trainer, outputs.features, batch.labels)
        rest = self.loss(outputs.logits, batch.labels)
        weights = [weight for weight in trainer.model.parameters() if weight.requires_grad]
        own = {
            weight for name in trainer.model.branches for weight in trainer.model.branch(name).encoder.parameters()
        }
        for loss, taken in (
            (encoders, [w for w in weights if w in own]),
            (rest, [w for w in weights if w not in own]),
        ):
            for weight, gradient in zip(taken, trainer.gradients(loss, taken), strict=True):
                weight.grad = gradient
        if self.max_norm is not None:
            clip_grad_norm_(weights, self.max_norm)
        trainer.update()
        return outputs, encoders + rest

    def encoders_loss(self, trainer: "Trainer", features: "Mapping[str, Tensor]", labels: "Tensor") -> "Tensor":
        """alpha times the summed cross-entropies of the fusion by each modality alone.

        Args:
            trainer: whose model fuses.
            features: modality -> (rows of this rank, width).
            labels: (B,), int64.
        """
        import torch

        from bss.training.losses import cross_entropy

        nothing = {name: torch.zeros_like(values) for name, values in features.items()}
        alone = [trainer.fuse({**nothing, name: values}) for name, values in features.items()]
        return self.alpha * torch.stack([cross_entropy(logits, labels) for logits in alone]).sum()
