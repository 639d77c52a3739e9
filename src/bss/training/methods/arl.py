"""Asymmetric representation learning: the fusion is to depend on a modality the more, the less it varies."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from bss.training.methods.fused_only import FusedOnly
from bss.training.methods.method import Record

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from bss.model import Outputs
    from bss.training.loader import Batch
    from bss.training.trainer import Trainer

FLOOR = 0.6
"""Least share of the entropies, times the number of modalities: 0.3 of two."""


class ARL(FusedOnly):
    """The fused loss and gamma sum_m CE(u_m), and encoder m's gradient is times 1 + q_m.

    u_m = g(f_m, zeros for the others) with the fusion g. H_m is the batch's mean entropy of softmax(u_m) as a share
    of all modalities', at least 0.6 / M; w_m is 1 / H_m and c_m the mean of |u_m|, both as shares of all; and

        q = softmax over the modalities of temperature w_m (1 - c_m).

    Before `starts` gamma is 1 and nothing is scaled. Heads are probes, as in `fused_only`. Source: ARL (ICCV 2025) by
    its code, which has two modalities; several are inferred. `released` never uses q: all gradients are times
    1 + 1 / M.
    """

    record: ClassVar[Record] = Record(paper="ARL, ICCV 2025", families=("gradient",), extra="M passes of the fusion")
    grid: ClassVar[Mapping[str, tuple[object, ...]]] = {"gamma": (1.0, 2.0, 4.0)}
    strategies: ClassVar[tuple[str, ...]] = ("ddp",)
    variant: Literal["published", "released"] = "published"
    gamma: Annotated[float, Field(ge=0)] = 4.0
    """Weight of the losses by one modality alone, from `starts` on."""
    temperature: Annotated[float, Field(ge=0)] = 8.0
    """Strength of q; 0 scales all encoders alike."""
    starts: Annotated[int, Field(ge=0)] = 2
    """First epoch whose gradients are scaled, from 0; 1000 and the like for never."""

    def step(self, trainer: "Trainer", batch: "Batch") -> "tuple[Outputs, Tensor]":
        """One update by the fused loss and those of each modality alone."""
        import torch

        from bss.training.losses import cross_entropy

        outputs = trainer.forward(batch.inputs)
        loss = self.loss(outputs.logits, batch.labels)
        scales = trainer.epoch >= self.starts
        gamma = self.gamma if scales else 1.0
        alone, there = _alone(trainer, outputs.features)
        losses = [
            (cross_entropy(u, batch.labels, reduction="none") * there[name]).mean() for name, u in alone.items()
        ]
        loss = loss + gamma * torch.stack(losses).sum()
        trainer.backward(loss)
        if scales:
            q = self.shares([u.detach()[there[name] > 0] for name, u in alone.items()])
            for name, share in zip(alone, q.tolist(), strict=True):
                for weight in trainer.model.branch(name).encoder.parameters():
                    if weight.grad is not None:
                        weight.grad.mul_(1 + share)
        trainer.update()
        return outputs, loss

    def shares(self, alone: "list[Tensor]") -> "torch.Tensor":
        """q (M,) of the logits u_m by one modality alone, each (samples that have it, C)."""
        import torch

        if self.variant == "released":
            return torch.full((len(alone),), 1 / len(alone))
        entropies, sizes = [], []
        for u in alone:
            logs = u.double().log_softmax(dim=1)
            number = max(len(u), 1)
            entropies.append(-(logs.exp() * logs).sum() / number)
            sizes.append(u.double().abs().sum() / (number * u.shape[1]))
        return dependence(torch.stack(entropies), torch.stack(sizes), self.temperature)


def dependence(entropies: "Tensor", sizes: "Tensor", temperature: float) -> "torch.Tensor":
    """q (M,), which adds up to 1: large where a modality is sure, and the fusion owes little to it.

    Args:
        entropies: H_m, (M,), at least 0.
        sizes: mean |u_m|, (M,), at least 0.
        temperature: strength.
    """
    inverse = 1 / _shared(entropies).clamp(min=FLOOR / len(entropies))
    return (temperature * _shared(inverse) * (1 - _shared(sizes))).softmax(dim=0)


def _shared(values: "Tensor") -> "torch.Tensor":
    """The share of each in the sum; alike where all are 0."""
    total = values.sum()
    return (values / total.where(total > 0, 1.0)).where(total > 0, 1 / len(values))


def _alone(trainer: "Trainer", features: "Mapping[str, Tensor]") -> "tuple[dict[str, Tensor], dict[str, Tensor]]":
    """Modality -> the logits (B, C) of the fusion by it alone, and 1 where a sample has it, (B,)."""
    import torch

    nothing = {name: torch.zeros_like(values) for name, values in features.items()}
    logits = {name: trainer.fuse({**nothing, name: values}) for name, values in features.items()}
    there = {name: trainer.whole(values.detach().any(dim=1).float()) for name, values in features.items()}
    return logits, there
