"""Encoders cut into as many depths as all of them have, and what comes out at each."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from bss.encoders._blocks import Block, blocks

if TYPE_CHECKING:
    from bss.model import MultimodalModel

SEQUENCE_AXES = 3
"""Axes of (rows, length, width), or of (rows, channels, length); more are maps (rows, channels, ...)."""


def depths(model: "MultimodalModel", most: int) -> dict[str, list[Block]]:
    """Modality -> the modules of each depth; all have as many as the encoder of fewest blocks has, at most `most`.

    Consecutive blocks share a depth where there are more; earlier depths get the smaller share.
    """
    cut = {name: blocks(model.branch(name).encoder) for name in model.branches}
    number = min(most, *map(len, cut.values()))
    return {
        name: [
            [module for block in found[len(found) * d // number : len(found) * (d + 1) // number] for module in block]
            for d in range(number)
        ]
        for name, found in cut.items()
    }


def weights_at(encoder: nn.Module, modules: Sequence[nn.Module]) -> dict[str, nn.Parameter]:
    """Name within the encoder -> parameter, of those of some of its modules."""
    inside = {id(weight) for module in modules for weight in module.parameters()}
    return {name: weight for name, weight in encoder.named_parameters() if id(weight) in inside}


@contextmanager
def watched(cut: Mapping[str, Sequence[Block]], num_rows: int) -> Iterator[dict[str, list[Tensor]]]:
    """Modality -> what comes out at each depth of the forward passes inside, pooled to (num_rows, width), float32.

    Args:
        cut: modality -> the modules of each depth.
        num_rows: samples of a pass; an encoder may have several rows a sample, such as frames.
    """
    found: dict[str, list[Tensor]] = {name: [] for name in cut}

    def keep(name: str, part: Block) -> Any:
        first = channels_first(part)
        return lambda module, inputs, output: found[name].append(pooled(output, num_rows, channels_first=first))

    handles = [part[-1].register_forward_hook(keep(name, part)) for name, parts in cut.items() for part in parts]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def channels_first(modules: Sequence[nn.Module]) -> bool:
    """Whether a sequence comes out of them as (rows, channels, length): where a convolution shapes it last."""
    weighty = [
        part
        for module in modules
        for part in module.modules()
        if any(weight.ndim > 1 for weight in part.parameters(recurse=False))
    ]
    return bool(weighty) and isinstance(weighty[-1], nn.Conv1d)


def pooled(output: Any, num_rows: int, *, channels_first: bool = False) -> Tensor:
    """The mean over places, and over the rows of a sample, (num_rows, width), of what a module gives.

    Args:
        output: (rows, width), (rows, length, width) or (rows, channels, ...); of several values the first.
        num_rows: samples; rows are a multiple of it, those of a sample one after the other.
        channels_first: whether what has three axes is (rows, channels, length).
    """
    values: Tensor = (output if isinstance(output, Tensor) else output[0]).float()
    if values.ndim > SEQUENCE_AXES or (values.ndim == SEQUENCE_AXES and channels_first):
        values = values.flatten(2).mean(dim=2)
    elif values.ndim == SEQUENCE_AXES:
        values = values.mean(dim=1)
    return values.reshape(num_rows, -1, values.shape[1]).mean(dim=1)
