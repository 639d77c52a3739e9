"""Low-rank adapters of the weights of a network: W + scale B A, without a change of its layers.

The sum takes the place of the weight itself, as a parametrisation of torch. So whatever reads the weight meets the
adapter: a layer's forward, the joint projection and the output of attention, and the fused path of transformer layers
in eval mode, which calls no forward of the layers within.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from bss.errors import InputError

ADAPTABLE = (
    nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Embedding, nn.EmbeddingBag, nn.MultiheadAttention,
)  # fmt: skip
"""Layers whose weights take an adapter."""


class Adapter(nn.Module):
    """What a matrix W becomes, W + scale B A; W is (rows, columns), A (rank, columns) random, B (rows, rank) zero.

    Weights of more axes, as of convolutions, are matrices with all axes but the first as columns.

    Args:
        weight: W.
        rank: of B A; a matrix with a smaller side has that of its own.
        scale: of B A.
    """

    def __init__(self, weight: Tensor, rank: int, scale: float) -> None:
        super().__init__()
        rows, columns = len(weight), weight[0].numel()
        rank = min(rank, rows, columns)
        self.scale = scale
        self.a = nn.Parameter(torch.empty(rank, columns))
        self.b = nn.Parameter(torch.zeros(rows, rank))
        nn.init.kaiming_uniform_(self.a, a=5**0.5)  # as peft does

    def forward(self, weight: Tensor) -> Tensor:
        """The weight that the layer works with."""
        with torch.autocast(weight.device.type, enabled=False):
            return weight + self.scale * (self.b @ self.a).view(weight.shape)


def add_adapters(network: nn.Module, rank: int, scale: float) -> None:
    """Put an adapter on every matrix that is trained.

    Raises:
        InputError: the network has a layer that takes none, or no layer that does, or none as wide as the rank.
    """
    if recurrent := [type(part).__bases__[0] for part in network.modules() if isinstance(part, nn.RNNBase)]:
        raise InputError(f"there is no adapter of recurrent layers ({recurrent[0].__name__})")
    if any(type(part).__module__.startswith("peft.") for part in network.modules()):
        raise InputError("the encoder has adapters already: leave out its lora_rank")
    found = [
        (part, name, weight)
        for part in network.modules()
        if isinstance(part, ADAPTABLE)
        for name, weight in part.named_parameters(recurse=False)
        if name.endswith("weight") and weight.requires_grad
    ]
    if not found:
        raise InputError("the encoder has no matrix of weights that is trained: is it frozen?")
    widest = max(min(len(weight), weight[0].numel()) for _, _, weight in found)
    if rank > widest:
        raise InputError(f"rank {rank} is above the largest that a layer of the encoder can have, {widest}")
    for part, name, weight in found:
        parametrize.register_parametrization(part, name, Adapter(weight, rank, scale))


def adapters(network: nn.Module) -> Iterator[Adapter]:
    """The adapters of a network."""
    return (part for part in network.modules() if isinstance(part, Adapter))


def merge_adapters(network: nn.Module) -> None:
    """Make W + scale B A the weights themselves; the network is as one that never had adapters."""
    for part in list(network.modules()):
        parametrized = getattr(part, "parametrizations", {})
        for name in [name for name, chain in parametrized.items() if any(True for _ in adapters(chain))]:
            parametrize.remove_parametrizations(part, name, leave_parametrized=True)
