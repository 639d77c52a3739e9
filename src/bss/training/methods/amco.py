"""Adaptive mask co-optimization: classes of the modality that the prediction depends on are masked, more and more."""

from collections.abc import Callable, Mapping
from math import pi, sin
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, cast

from pydantic import Field

from bss.training.methods.joint import Joint
from bss.training.methods.method import Record
from bss.types import FUSED

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from bss.measure.evidence import Evidence
    from bss.model import MultimodalModel, Outputs
    from bss.training.loader import Batch
    from bss.training.trainer import Trainer


class AMCo(Joint):
    """The joint loss, in which random classes of the dependent modality's logits are zeros; "fused" is a linear layer
    (C to C) on the sum of the modalities' logits.

    The share of a modality is the batch mean of the sum over its C entries of a softmax over all M C logits. The
    dependent one is that whose mean share over the batches of the epoch so far is largest, where it is above
    1/M + `margin`. With b batches of epoch e (from 0) done,

        p = sin(pi/2 min(ramp, growth e b) / ramp)    and    int(p C) classes of each sample are masked.

    So no epoch 0 masks, and each begins without masks. Evaluation has none.

    Source: the idea is of a paper (ICASSP 2023) that could not be read; this is what BalanceBenchmark computes.
    """

    record: ClassVar[Record] = Record(
        paper="AMCo, ICASSP 2023",
        families=("data", "fusion"),
        extra="a few operations on the logits",
        benchmark={"CREMA-D": 73.3, "KS": 70.54, "VGGSound": 49.05},
    )
    grid: ClassVar[Mapping[str, tuple[object, ...]]] = {"ramp": (0.3, 1.0, 3.0)}
    strategies: ClassVar[tuple[str, ...]] = ("ddp",)
    variant: Literal["released"] = "released"
    """The only form that is known."""
    margin: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """By how much a share has to be above 1/M."""
    ramp: Annotated[float, Field(gt=0)] = 0.3
    """Value of growth e b at which all classes are masked, epsilon."""
    growth: Annotated[float, Field(ge=0)] = 0.1
    """What each batch adds, times its epoch; 0 masks nothing."""

    def prepare(self, model: "MultimodalModel") -> None:
        """A linear layer on the sum of the logits in place of the fusion."""
        from torch import nn

        model.fusion = None
        num_classes = model.branch(next(iter(model.branches))).head.out_features
        model.mixture = nn.Linear(num_classes, num_classes)
        model.register_forward_hook(_mixed)

    def begin_epoch(
        self,
        trainer: "Trainer",
        epoch: int,
        evidence: "Callable[[], Evidence]",
        validation: "Callable[[], Evidence]",
    ) -> None:
        """Forget the shares of the epoch before: `memory` has "shares" (M,), summed over batches."""
        trainer.memory.pop("shares", None)

    def step(self, trainer: "Trainer", batch: "Batch") -> "tuple[Outputs, Tensor]":
        """Joint's step, with the masks."""
        import torch

        outputs = trainer.forward(batch.inputs)
        names = list(trainer.model.branches)
        z = torch.stack([outputs.logits[name] for name in names])
        total = trainer.memory.get("shares", 0) + shares(z.detach())
        trainer.memory["shares"] = total
        logits, number = dict(outputs.logits), self.num_masked(trainer.epoch, trainer.num_batches, z.shape[2])
        if number and float(total.amax() / total.sum()) > 1 / len(names) + self.margin:
            dependent = names[int(total.argmax())]
            draws = torch.rand(z.shape[1:], generator=trainer.generator("masks"), device=z.device)
            logits[dependent] = mask(logits[dependent], number, draws)
            summed = torch.stack([logits[name] for name in names]).sum(dim=0)
            with trainer.runtime.autocast():
                mixed = cast("nn.Module", trainer.model.mixture)(trainer.own_rows(summed)).float()
            logits[FUSED] = trainer.whole(mixed)
        return self.descend(trainer, batch, outputs, self.loss(logits, batch.labels))

    def num_masked(self, epoch: int, num_batches: int, num_classes: int) -> int:
        """How many classes of a sample are masked.

        Args:
            epoch: from 0.
            num_batches: of the epoch, that are done.
            num_classes: C.
        """
        p = sin(pi / 2 * min(self.ramp, self.growth * epoch * num_batches) / self.ramp)
        return int(p * num_classes + 1e-9)  # rounding makes less than a half of what is one


def shares(z: "Tensor") -> "torch.Tensor":
    """The batch mean of each modality's part of a softmax over the logits of all, (M,), float64, of sum 1.

    Args:
        z: (M, B, C); a modality that a sample lacks has logits of zero, and no part.
    """
    there = z.any(dim=2, keepdim=True)
    there = there | ~there.any(dim=0, keepdim=True)
    values = z.double().masked_fill(~there, float("-inf")).transpose(0, 1)
    return values.flatten(1).softmax(dim=1).view(values.shape).sum(dim=2).mean(dim=0)


def mask(logits: "Tensor", number: int, draws: "Tensor") -> "Tensor":
    """The logits with some classes of each sample zero: those of its largest draws.

    Args:
        logits: (B, C).
        number: of classes.
        draws: (B, C).
    """
    return logits.scatter(1, draws.topk(number, dim=1).indices, 0.0)


def _mixed(model: "MultimodalModel", arguments: Any, outputs: "Outputs") -> "Outputs":
    """The linear layer's answer where the model has summed the logits."""
    if FUSED not in outputs.logits:
        return outputs
    mixture = cast("nn.Module", model.mixture)
    return outputs._replace(logits={**outputs.logits, FUSED: mixture(outputs.logits[FUSED])})
