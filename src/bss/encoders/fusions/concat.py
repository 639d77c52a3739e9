"""A linear classifier on the features side by side."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from bss.encoders.fusions.fusion import Fusion

if TYPE_CHECKING:
    from torch import Tensor, nn


class Concat(Fusion):
    """logits = W [f_1; ...; f_M] + b. Source: BSS (IJCAI 2025) and most of what it is compared with."""

    def build(self, widths: Mapping[str, int], num_classes: int) -> "nn.Module":
        """Modality -> (B, width), to (B, C)."""
        import torch
        from torch import nn

        class Joined(nn.Linear):
            """A linear layer itself, so that its weights keep their names and their draws."""

            def forward(self, features: "Mapping[str, Tensor]") -> "Tensor":  # type: ignore[override]
                return super().forward(torch.cat(list(features.values()), dim=1))

        return Joined(sum(widths.values()), num_classes)
