"""Predictive dynamic fusion: each modality weighs by how sure a small net expects it to be, and the others not."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, cast

from pydantic import Field

from bss.training.methods.joint import Joint
from bss.training.methods.method import Record

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from bss.model import MultimodalModel, Outputs
    from bss.training.loader import Batch
    from bss.training.trainer import Trainer


class PDF(Joint):
    """The joint loss with the fused logits sum_m w_m z_m, and what a net a modality learns of its confidence.

    The net says q_m, in (0, 1), of the features as they are, and learns |q_m - p_m[y]|. With
    holo_m = sum_{o != m} log q_o / ((M - 1) sum_o log q_o), which is large where the others are unsure, the weights
    are, without gradient, the softmax over the modalities of q_m + holo_m. In evaluation these are times
    rc_m = DU_m / max_o DU_o first, where DU_m = mean_c |p_mc - 1 / C|: a flat prediction counts less.

    Source: PDF (ICML 2024) by its code, which has two modalities.
    """

    record: ClassVar[Record] = Record(
        paper="PDF, ICML 2024", families=("fusion",), extra="heads and small nets twice"
    )
    grid: ClassVar[Mapping[str, tuple[object, ...]]] = {"confidence_weight": (0.3, 1.0, 3.0)}
    strategies: ClassVar[tuple[str, ...]] = ("ddp",)
    confidence_weight: Annotated[float, Field(ge=0)] = 1.0
    """Weight of the nets' losses, which reach no encoder; 0 leaves the nets as they were drawn."""
    calibrates: bool = True
    """Whether evaluation counts a flat prediction less."""

    def prepare(self, model: "MultimodalModel") -> None:
        """The weighted sum as the fusion."""
        import torch
        from torch import nn

        from bss.training.methods._late_fusion import LateFusion

        widths = {name: model.branch(name).head.in_features for name in model.branches}
        calibrates = self.calibrates

        class Weighted(nn.Module):
            """A net a modality, and the sum of the logits by what they say."""

            def __init__(self) -> None:
                super().__init__()
                self.nets = nn.ModuleDict({name: _net(width) for name, width in widths.items()})

            def log_confidences(self, features: Mapping[str, torch.Tensor]) -> torch.Tensor:
                """log q, (B, M)."""
                each = [net(features[name].detach()).float() for name, net in self.nets.items()]
                return nn.functional.logsigmoid(torch.cat(each, dim=1))

            def forward(
                self, logits: torch.Tensor, present: torch.Tensor, features: Mapping[str, torch.Tensor]
            ) -> torch.Tensor:
                log_q = self.log_confidences(features)
                flat = flatness(logits, present) if calibrates and not self.training else None
                weights = modality_weights(log_q.detach().T, present, flat)
                # The nets learn from a loss of their own; of ddp they have to be a part of this pass too.
                return (weights[..., None] * logits).sum(dim=0) + 0 * log_q.exp().sum()

        model.fusion = LateFusion(model, Weighted())

    def step(self, trainer: "Trainer", batch: "Batch") -> "tuple[Outputs, Tensor]":
        """Joint's step, and the losses of the nets."""
        from bss.training.methods._late_fusion import asked_apart

        outputs = trainer.forward(batch.inputs)
        loss = self.loss(outputs.logits, batch.labels)
        rule = cast(Any, trainer.model.fusion).rule
        log_q = asked_apart(trainer, rule.log_confidences, outputs.features)
        if self.confidence_weight:
            logits = {name: outputs.logits[name] for name in trainer.model.branches}
            loss = loss + self.confidence_weight * confidence_loss(log_q.exp(), logits, batch.labels)
        return self.descend(trainer, batch, outputs, loss)

    def on_gradients(self, trainer: "Trainer", outputs: "Outputs", batch: "Batch") -> None:
        """Drop those of nets that do not learn, of zeros, with which they would decay."""
        rule = cast(Any, trainer.model.fusion).rule
        for weight in rule.parameters() if self.confidence_weight == 0 else ():
            weight.grad = None


def _net(width: int) -> "torch.nn.Sequential":
    """Features to one number: three linear layers, as in the code, with nothing in between."""
    from torch import nn

    return nn.Sequential(nn.Linear(width, 2 * width), nn.Linear(2 * width, width), nn.Linear(width, 1))


def confidence_loss(confidences: "Tensor", logits: "Mapping[str, Tensor]", labels: "Tensor") -> "Tensor":
    """The sum over the modalities of the mean over the batch of |q - p[y]|, a scalar; p has no gradient.

    Args:
        confidences: q, (B, M), in the order of the logits.
        logits: modality -> (B, C); zeros of what a sample lacks, which costs nothing.
        labels: (B,), int64.
    """
    import torch

    losses = []
    for q, z in zip(confidences.T, logits.values(), strict=True):
        sure = z.detach().softmax(dim=1).gather(1, labels[:, None]).squeeze(1)
        losses.append(((q - sure).abs() * z.any(dim=1)).mean())
    return torch.stack(losses).sum()


def modality_weights(log_q: "Tensor", present: "Tensor", calibration: "Tensor | None" = None) -> "Tensor":
    """The weights (M, B) of the modalities, which add up to 1 over those that a sample has.

    Args:
        log_q: logarithms of the confidences, (M, B), at most 0.
        present: whether a sample has the modality, (M, B); what it lacks counts in no sum.
        calibration: rc, (M, B), in [0, 1].
    """
    log_q = log_q * present
    total, others = log_q.sum(dim=0), (present.sum(dim=0) - 1).clamp(min=1)
    # The code adds the small number, and so can divide by zero.
    holo = (total - log_q) / (others * (total - 1e-8))
    scores = log_q.exp() + holo
    if calibration is not None:
        scores = scores * calibration
    return scores.masked_fill(~present, -1e9).softmax(dim=0)


def flatness(logits: "Tensor", present: "Tensor") -> "Tensor":
    """rc (M, B): how far a prediction is from a flat one, over the most of any modality; 1 where all are flat.

    Args:
        logits: (M, B, C).
        present: whether a sample has the modality, (M, B).
    """
    apart = (logits.softmax(dim=2) - 1 / logits.shape[2]).abs().mean(dim=2) * present
    most = apart.amax(dim=0)
    return (apart / most.where(most > 0, 1.0)).where(most > 0, 1.0)
