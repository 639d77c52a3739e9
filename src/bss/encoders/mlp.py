"""A multilayer perceptron for feature vectors, or for anything small once flattened."""

from itertools import pairwise
from math import prod
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from bss.encoders.encoder import Encoder

if TYPE_CHECKING:
    from torch import nn


class MLP(Encoder):
    """Linear layers with ReLU, all of one width."""

    width: Annotated[int, Field(ge=1)] = 64
    num_layers: Annotated[int, Field(ge=1)] = 2

    def build(self, shape: tuple[int, ...]) -> "nn.Module":
        """(B, *shape) -> (B, width)."""
        from torch import nn

        widths = [prod(shape), *[self.width] * self.num_layers]
        layers: list[nn.Module] = [nn.Flatten()]
        for inner, outer in pairwise(widths):
            layers += [nn.Linear(inner, outer), nn.ReLU()]
        network = nn.Sequential(*layers)
        network.dim = self.width  # type: ignore[assignment]
        return network
