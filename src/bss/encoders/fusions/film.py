"""One modality scaled and shifted by what the others say."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from bss.encoders.fusions.fusion import Fusion
from bss.errors import InputError
from bss.registry import lookup

if TYPE_CHECKING:
    from torch import Tensor, nn


class Film(Fusion):
    """logits = W relu((1 + s) * P f_base + t) + b, where s and t are linear in the other modalities side by side.

    Where the base is missing the shift still speaks for the others. Source: FiLM, Perez et al. (2018).
    """

    width: Annotated[int, Field(ge=1)] = 64
    """Width of the modulated projection."""
    base: str | None = None
    """The modality that is modulated; the first where left out."""

    def build(self, widths: Mapping[str, int], num_classes: int) -> "nn.Module":
        """Modality -> (B, width), to (B, C).

        Raises:
            InputError: `base` is no modality, or there is none beside it.
        """
        import torch
        from torch import nn

        if len(widths) < 2:
            raise InputError(f"film joins two modalities or more, got {list(widths)}")
        base = next(iter(widths)) if self.base is None else self.base
        lookup("modality", base, widths)
        others = [name for name in widths if name != base]

        class Modulated(nn.Module):
            def __init__(self, width: int) -> None:
                super().__init__()
                self.projection = nn.Linear(widths[base], width)
                self.modulation = nn.Linear(sum(widths[name] for name in others), 2 * width)
                self.head = nn.Linear(width, num_classes)

            def forward(self, features: "Mapping[str, Tensor]") -> "Tensor":
                scale, shift = self.modulation(torch.cat([features[name] for name in others], dim=1)).chunk(2, dim=1)
                logits: Tensor = self.head(((1 + scale) * self.projection(features[base]) + shift).relu())
                return logits

        return Modulated(self.width)
