"""The directions that a head's layers use, and gradients that shrink in them."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from torch import Tensor


def layer_uses(head: nn.Module, batches: "Iterable[Tensor]") -> "dict[str, Tensor]":
    """Place of a linear layer of the head -> Y (width, width), float64: the sum over the batches of u u^T.

    u is the mean over a batch of the layer's inputs.

    Args:
        head: layers one after the other.
        batches: of features, each (B, dim).
    """
    found: dict[str, Tensor] = {}
    with torch.no_grad():
        for batch in batches:
            values = batch
            for place, layer in enumerate(head.children()):
                if isinstance(layer, nn.Linear):
                    u = values.double().mean(dim=0)
                    found[str(place)] = found.get(str(place), 0) + torch.outer(u, u)
                values = layer(values)
    return found


def flattening(uses: "Tensor", temperature: float) -> "Tensor":
    """T (width, width), float32: 1 in the direction that is used least, exp(-temperature) in the one used most.

    Args:
        uses: Y (width, width), symmetric.
        temperature: tau, at least 0.
    """
    values, vectors = torch.linalg.eigh(uses.cpu())
    spread = values[-1] - values[0]
    factors = torch.exp(-temperature * (values - values[0]) / (spread if spread > 0 else 1))
    t: Tensor = (vectors * factors) @ vectors.T
    return t.float()


def linear_layers(head: nn.Module) -> dict[str, nn.Linear]:
    """Place -> linear layer of a head."""
    return {str(place): layer for place, layer in enumerate(head.children()) if isinstance(layer, nn.Linear)}
