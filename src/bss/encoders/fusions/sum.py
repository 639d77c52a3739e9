"""The sum of the features, each brought to one width."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from bss.encoders.fusions.fusion import Fusion

if TYPE_CHECKING:
    from torch import Tensor, nn


class Sum(Fusion):
    """logits = W sum_m relu(P_m f_m) + b. The projections have no bias, so a missing modality adds nothing."""

    width: Annotated[int, Field(ge=1)] = 64
    """Width of the sum."""

    def build(self, widths: Mapping[str, int], num_classes: int) -> "nn.Module":
        """Modality -> (B, width), to (B, C)."""
        from torch import nn

        class Summed(nn.Module):
            def __init__(self, width: int) -> None:
                super().__init__()
                self.projections = nn.ModuleDict(
                    {name: nn.Linear(inner, width, bias=False) for name, inner in widths.items()}
                )
                self.head = nn.Linear(width, num_classes)

            def forward(self, features: "Mapping[str, Tensor]") -> "Tensor":
                parts = [project(features[name]).relu() for name, project in self.projections.items()]
                logits: Tensor = self.head(sum(parts[1:], parts[0]))
                return logits

        return Summed(self.width)
