"""Multi-modal cosine loss: features and weights are normalised by modality, so none grows over the others."""

from collections.abc import Mapping
from itertools import combinations
from typing import TYPE_CHECKING, Annotated, ClassVar, cast

from pydantic import Field

from bss.training.methods.joint import Joint
from bss.training.methods.method import Record

if TYPE_CHECKING:
    from torch import Tensor

    from bss.model import MultimodalModel, Outputs
    from bss.training.loader import Batch
    from bss.training.trainer import Trainer

LEAST = 1e-10
"""What is added to a probability before its logarithm."""


class MMCosine(Joint):
    """The joint loss with the fused logits scale * sum_m cos(f_m, w_{m,c}) for class c.

    w_{m,c} is the row of class c of modality m's part of the fusion, which has no bias; a vector of zeros has the
    cosine 0. With `contrast_weight` the loss has that times `contrast` beside, and features narrower than the widest
    are brought to its width.

    Source: MMCosine (ICASSP 2023) and its code, which train with the fused loss alone: `unimodal_weight: 0`.
    """

    record: ClassVar[Record] = Record(
        paper="MMCosine, ICASSP 2023",
        families=("fusion",),
        extra="none",
        benchmark={"CREMA-D": 67.19, "KS": 67.49, "VGGSound": 48.73},
    )
    grid: ClassVar[Mapping[str, tuple[object, ...]]] = {"scale": (5.0, 10.0, 20.0)}
    scale: Annotated[float, Field(gt=0)] = 10.0
    """What the cosines are multiplied by, so that a softmax of them can be sure."""
    contrast_weight: Annotated[float, Field(ge=0)] = 0.0
    """Weight of the contrast between the modalities, lambda; 0 has none."""
    temperature: Annotated[float, Field(gt=0)] = 0.1
    """Of the cosines in that contrast."""

    def prepare(self, model: "MultimodalModel") -> None:
        """The sum of cosines as the fusion."""
        import torch
        from torch import nn

        from bss.training.methods._heads import widen

        if self.contrast_weight:
            widen(model)
        heads, scale = {name: model.branch(name).head for name in model.branches}, self.scale

        class Cosines(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.parts = nn.ModuleDict(
                    {name: nn.Linear(head.in_features, head.out_features, bias=False) for name, head in heads.items()}
                )

            def forward(self, features: Mapping[str, torch.Tensor]) -> torch.Tensor:
                # In float32 throughout: bfloat16 keeps three digits of a squared length.
                with torch.autocast(next(iter(features.values())).device.type, enabled=False):
                    cosines = [
                        unit(features[name].float()) @ unit(cast(nn.Linear, part).weight.float()).T
                        for name, part in self.parts.items()
                    ]
                    return scale * torch.stack(cosines).sum(dim=0)

        model.fusion = Cosines()

    def step(self, trainer: "Trainer", batch: "Batch") -> "tuple[Outputs, Tensor]":
        """Joint's step, with the contrast where it has a weight."""
        if not self.contrast_weight:
            return super().step(trainer, batch)
        outputs = trainer.forward(batch.inputs)
        features = {name: trainer.whole(values).float() for name, values in outputs.features.items()}
        loss = self.loss(outputs.logits, batch.labels)
        loss = loss + self.contrast_weight * contrast(features, batch.labels, self.temperature)
        return self.descend(trainer, batch, outputs, loss)


def contrast(features: "Mapping[str, Tensor]", labels: "Tensor", temperature: float) -> "Tensor":
    """How far the modalities of one class are apart, and those of several classes together, a scalar in nats.

    p_ij is the softmax over samples j of cos(f_i, h_j) / temperature, f of one modality and h of one after it. A
    sample i costs the mean of -log p_ij over the samples of its class, itself among them, and the mean of
    -log(1 - p_ij) over the others; without others that is 0. The mean is over the samples that have both modalities,
    then over the pairs of modalities.

    Args:
        features: modality -> (B, width), of one width.
        labels: (B,), int64.
        temperature: above 0.
    """
    import torch

    found = []
    for one, other in combinations(features.values(), 2):
        rows = one.detach().any(dim=1) & other.detach().any(dim=1)
        if not rows.any():
            continue
        p = (unit(one[rows]) @ unit(other[rows]).T / temperature).softmax(dim=1)
        alike = labels[rows, None] == labels[rows]
        near = (-(p + LEAST).log() * alike).sum(dim=1) / alike.sum(dim=1)
        far = (-(1 - p + LEAST).log() * ~alike).sum(dim=1) / (~alike).sum(dim=1).clamp(min=1)
        found.append((near + far).mean())
    return torch.stack(found).mean() if found else torch.zeros((), device=labels.device)


def unit(rows: "Tensor") -> "Tensor":
    """Each row divided by its length; a row of zeros, which has no direction, stays and has no gradient.

    Args:
        rows: (n, width).
    """
    there = rows.any(dim=1, keepdim=True)
    # Not a small constant below: its gradient would be as large as the constant is small.
    lengths = rows.where(there, 1.0).norm(dim=1, keepdim=True).clamp(min=1e-30)
    directions: Tensor = rows.where(there, 0.0) / lengths
    return directions
