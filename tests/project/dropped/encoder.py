"""A single layer."""

from collections.abc import Mapping
from math import prod
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from bss.encoders.encoder import Encoder
from bss.errors import InputError

if TYPE_CHECKING:
    from torch import nn

    from bss.data.packed import ModalityMeta


class Dropped(Encoder):
    """tanh(W x + b)."""

    example: ClassVar[Mapping[str, Any]] = {"width": 4}

    width: int = Field(ge=1)

    def build(self, modality: "ModalityMeta") -> "nn.Module":
        """(B, *shape) -> (B, width)."""
        from torch import nn

        if modality.tokens is not None or modality.kind == "sequence":
            raise InputError(f"dropped takes quantities without padding, got {modality.kind}")
        network = nn.Sequential(nn.Flatten(), nn.Linear(prod(modality.shape), self.width), nn.Tanh())
        network.dim = self.width  # type: ignore[assignment]
        return network
