"""Calibrated learning: taking a modality away must not make the prediction surer."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from bss.training.methods.joint import Joint
from bss.training.methods.method import Record
from bss.types import FUSED

if TYPE_CHECKING:
    from torch import Tensor

    from bss.model import Outputs
    from bss.training.loader import Batch
    from bss.training.trainer import Trainer


class CML(Joint):
    """The fused loss over nested sets of modalities, and weight times what smaller sets are surer than larger ones.

    Each step takes the modalities away in a random order, one after the other, until one is left; features of what is
    gone are zeros. Let z_S be the fusion's logits of a set and conf_S the largest of their softmax. The fused loss is
    the mean over the sets of CE(z_S), and the penalty the mean over the batch of the sum over successive sets of

        max(0, conf_smaller - conf_larger).

    The unimodal losses are joint's. With `confidence: similarities` conf is the largest of the softmax of the mean
    similarities to the classes instead, see `similarities`.

    Source: CML (ICML 2023) and its code, two scripts. `released` is miwae: sums over the batch, of the pairs that the
    larger set has right, and of those that both have wrong, where the larger set has no gradient. With similarities
    it is cpm: those same samples, but both sets have their gradients.
    """

    record: ClassVar[Record] = Record(
        paper="CML, ICML 2023",
        families=("loss",),
        extra="M - 1 passes of the fusion",
        benchmark={"CREMA-D": 69.18, "KS": 67.56, "VGGSound": 50.5},
    )
    grid: ClassVar[Mapping[str, tuple[object, ...]]] = {"weight": (0.1, 1.0, 10.0)}
    strategies: ClassVar[tuple[str, ...]] = ("ddp",)
    variant: Literal["published", "released"] = "published"
    confidence: Literal["logits", "similarities"] = "logits"
    """Of what the largest softmax is how sure a set is: the fusion's logits, or similarities to the classes."""
    weight: Annotated[float, Field(ge=0)] | None = None
    """Weight of the penalty, lambda; where left out 1, in `released` 0.1, for it sums over the batch."""

    def step(self, trainer: "Trainer", batch: "Batch") -> "tuple[Outputs, Tensor]":
        """Joint's step, with the fused loss of all sets and the penalty."""
        import torch

        from bss.training.losses import cross_entropy

        outputs = trainer.forward(batch.inputs)
        names = list(trainer.model.branches)
        drawn = torch.randperm(
            len(names), generator=trainer.generator("order of removal"), device=trainer.runtime.device
        )
        nested = [outputs.features]
        for place in drawn[:-1].tolist():
            nested.append({**nested[-1], names[place]: torch.zeros_like(nested[-1][names[place]])})
        sets = [outputs.logits[FUSED], *(trainer.fuse(left) for left in nested[1:])]
        fused = torch.stack([cross_entropy(logits, batch.labels) for logits in sets]).mean()
        unimodal = self.loss({name: outputs.logits[name] for name in names}, batch.labels)
        weight = self.weight if self.weight is not None else 0.1 if self.variant == "released" else 1.0
        if self.confidence == "similarities":
            whole = ({name: trainer.whole(values).float() for name, values in left.items()} for left in nested)
            sets = [similarities(features, batch.labels, sets[0].shape[1]) for features in whole]
        loss = self.fused_weight * fused + unimodal + weight * self.penalty(sets, batch.labels)
        return self.descend(trainer, batch, outputs, loss)

    def penalty(self, sets: "list[Tensor]", labels: "Tensor") -> "Tensor":
        """What smaller sets are surer than larger ones, a scalar of at least 0.

        Args:
            sets: logits or similarities (B, C) of nested sets of modalities, the largest first.
            labels: (B,), int64.
        """
        import torch

        sure = torch.stack([logits.softmax(dim=1).amax(dim=1) for logits in sets])
        larger, smaller = sure[:-1], sure[1:]
        surer = (smaller - larger).clamp(min=0)
        if self.variant == "published":
            return surer.sum(dim=0).mean()
        right = torch.stack([logits.argmax(dim=1) == labels for logits in sets])
        if self.confidence == "similarities":
            return (surer * ~(right[1:] & ~right[:-1])).sum()
        both_wrong = ~right[:-1] & ~right[1:]
        return (surer * right[:-1]).sum() + ((smaller - larger.detach()).clamp(min=0) * both_wrong).sum()


def similarities(features: "Mapping[str, Tensor]", labels: "Tensor", num_classes: int) -> "Tensor":
    """The mean similarity of each sample to those of each class in the batch, (B, C); -inf to a class without any.

    That is the dot product of all features side by side. A sample is not similar to itself, but counts in the number
    of its class.

    Args:
        features: modality -> (B, width); zeros where it is away.
        labels: (B,), int64.
        num_classes: C.
    """
    import torch
    from torch.nn.functional import one_hot

    joined = torch.cat([*features.values()], dim=1)
    alike = (joined @ joined.T).fill_diagonal_(0)
    members = one_hot(labels, num_classes).to(alike.dtype)
    counts = members.sum(dim=0)
    return (alike @ members / counts.clamp(min=1)).masked_fill(counts == 0, -torch.inf)
