"""Gates that say, number by number, how much each modality counts."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from bss.encoders.fusions.fusion import Fusion

if TYPE_CHECKING:
    from torch import Tensor, nn


class Gated(Fusion):
    """logits = W sum_m g_m * tanh(P_m f_m) + b, with the gate g_m = sigmoid(G_m [f_1; ...; f_M] + c_m).

    Every gate sees all modalities. The projections have no bias, so a missing modality adds nothing.
    Source: the gated multimodal unit of Arevalo et al. (2017), in its form for more than two modalities.
    """

    width: Annotated[int, Field(ge=1)] = 64
    """Width of the projections and of the gates."""

    def build(self, widths: Mapping[str, int], num_classes: int) -> "nn.Module":
        """Modality -> (B, width), to (B, C)."""
        import torch
        from torch import nn

        class Gates(nn.Module):
            def __init__(self, width: int) -> None:
                super().__init__()
                self.projections = nn.ModuleDict(
                    {name: nn.Linear(inner, width, bias=False) for name, inner in widths.items()}
                )
                self.gates = nn.ModuleDict({name: nn.Linear(sum(widths.values()), width) for name in widths})
                self.head = nn.Linear(width, num_classes)

            def forward(self, features: "Mapping[str, Tensor]") -> "Tensor":
                joined = torch.cat([features[name] for name in widths], dim=1)
                parts = [
                    self.gates[name](joined).sigmoid() * project(features[name]).tanh()
                    for name, project in self.projections.items()
                ]
                logits: Tensor = self.head(sum(parts[1:], parts[0]))
                return logits

        return Gates(self.width)
