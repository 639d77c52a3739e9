"""A multilayer perceptron for feature vectors, or for anything small once flattened."""

from itertools import pairwise
from math import prod
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from bss.encoders.encoder import Encoder
from bss.errors import InputError

if TYPE_CHECKING:
    from torch import nn

    from bss.data.packed import ModalityMeta


class MLP(Encoder):
    """Linear layers with ReLU, all of one width."""

    width: Annotated[int, Field(ge=1)] = 64
    """Size of every layer, which the features have."""
    num_layers: Annotated[int, Field(ge=1)] = 2
    """Linear layers, each with ReLU."""

    def build(self, modality: "ModalityMeta") -> "nn.Module":
        """(B, *shape) -> (B, width)."""
        from torch import nn

        if modality.tokens is not None:
            raise InputError("mlp takes quantities, got the ids of words: take text_embedding")
        if modality.kind == "sequence":
            raise InputError(
                f"mlp takes samples without padding, got a sequence of the shape {modality.shape}: take gru"
            )
        widths = [prod(modality.shape), *[self.width] * self.num_layers]
        layers: list[nn.Module] = [nn.Flatten()]
        for inner, outer in pairwise(widths):
            layers += [nn.Linear(inner, outer), nn.ReLU()]
        network = nn.Sequential(*layers)
        network.dim = self.width  # type: ignore[assignment]
        return network
