"""The blocks of an encoder's network, from its input to its output: how deep a part of it lies."""

from collections.abc import Sequence

from torch import nn

STAGES = ("layer1", "layer2", "layer3", "layer4")
"""The stages of torchvision's residual networks."""

Block = list[nn.Module]
"""Modules that follow each other; the output of the last one is that of the block."""


def blocks(network: nn.Module) -> list[Block]:
    """The blocks through which everything passes, one after the other; the whole network where it cannot be cut.

    A network may name them itself, as modules in an attribute `blocks`. Else they are the stages of a residual
    network, the layers of a transformer, or the children of a Sequential, those without a matrix of weights joined
    to the one before them. Of a network within another one, such as frame by frame, the inner one is cut.
    """
    named = getattr(network, "blocks", None)
    if isinstance(named, nn.Sequential | nn.ModuleList | list | tuple):
        return [[module] for module in named]
    if all(hasattr(network, stage) for stage in STAGES):
        return [[getattr(network, stage)] for stage in STAGES]
    if isinstance(network, nn.TransformerEncoder):
        return [[layer] for layer in network.layers]
    if isinstance(network, nn.Sequential) and len(network) > 1:
        return _joined(list(network))
    weighty = [child for child in network.children() if _has_matrix(child)]
    layers = [child for child in weighty if isinstance(child, nn.ModuleList | nn.TransformerEncoder)]
    if len(layers) == 1:  # beside embeddings
        return [[layer] for layer in layers[0]] if isinstance(layers[0], nn.ModuleList) else blocks(layers[0])
    return blocks(weighty[0]) if len(weighty) == 1 else [[network]]


def _joined(children: Sequence[nn.Module]) -> list[Block]:
    """Consecutive children, a new block at each that has a matrix of weights."""
    found: list[Block] = []
    for child in children:
        if _has_matrix(child) and (not found or any(map(_has_matrix, found[-1]))):
            found.append([])
        if not found:
            found.append([])
        found[-1].append(child)
    return found


def _has_matrix(module: nn.Module) -> bool:
    return any(weight.ndim > 1 for weight in module.parameters())
