"""Multi-modal cosine loss: features and weights are normalised by modality, so none grows over the others."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar, cast

from pydantic import Field

from bss.training.methods.joint import Joint
from bss.training.methods.method import Record

if TYPE_CHECKING:
    from torch import Tensor

    from bss.model import MultimodalModel


class MMCosine(Joint):
    """The joint loss with the fused logits scale * sum_m cos(f_m, w_{m,c}) for class c.

    w_{m,c} is the row of class c of modality m's part of the fusion, which has no bias; a vector of zeros has the
    cosine 0. Source: MMCosine (ICASSP 2023) and its code, which train with the fused loss alone:
    `unimodal_weight: 0`.
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

    def prepare(self, model: "MultimodalModel") -> None:
        """The sum of cosines as the fusion."""
        import torch
        from torch import nn

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
