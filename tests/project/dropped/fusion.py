"""The sum of the features, each brought to one width and bounded."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from bss.encoders.fusions.fusion import Fusion

if TYPE_CHECKING:
    from torch import Tensor, nn


class Dropped(Fusion):
    """logits = W sum_m tanh(P_m f_m) + b."""

    example: ClassVar[Mapping[str, Any]] = {"width": 4}

    width: int = Field(ge=1)

    def build(self, widths: Mapping[str, int], num_classes: int) -> "nn.Module":
        """Modality -> (B, width), to (B, C)."""
        import torch
        from torch import nn

        class Bounded(nn.Module):
            def __init__(self, width: int) -> None:
                super().__init__()
                self.projections = nn.ModuleDict(
                    {name: nn.Linear(widths[name], width, bias=False) for name in widths}
                )
                self.head = nn.Linear(width, num_classes)

            def forward(self, features: "Mapping[str, Tensor]") -> "Tensor":
                parts = [project(features[name]).tanh() for name, project in self.projections.items()]
                logits: Tensor = self.head(torch.stack(parts).sum(dim=0))
                return logits

        return Bounded(self.width)
