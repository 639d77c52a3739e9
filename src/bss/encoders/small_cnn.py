"""A small convolutional network for spectrograms, images, videos and sequences, fast on a CPU."""

from itertools import pairwise
from math import ceil
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from bss.encoders.encoder import Encoder
from bss.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from bss.data.packed import ModalityMeta


class SmallCNN(Encoder):
    """Blocks of convolution of side 3 (stride 2), batch normalisation and ReLU, each twice as wide as the last.

    They go over the steps of a sequence, the sides of an image, or the frames and the sides of a video. Where a
    sequence has ended it has the mean.
    """

    width: Annotated[int, Field(ge=1)] = 8
    """Channels of the first block."""
    num_blocks: Annotated[int, Field(ge=1)] = 3
    """Blocks, each of half the side and twice the channels of the one before."""
    pool: Annotated[int, Field(ge=1)] = 2
    """The last feature map is averaged to a grid of at most this many windows a side."""

    def build(self, modality: "ModalityMeta") -> "nn.Module":
        """(B, channels, [frames,] H, W) or (B, length, size) -> (B, dim)."""
        import torch
        from torch import nn

        shape = modality.shape
        if len(shape) not in (2, 3, 4) or modality.tokens is not None:
            raise InputError(
                "small_cnn takes samples of the shape (channels, [frames,] height, width) or (length, size), "
                f"got {shape}"
            )
        channels, *sides = shape if len(shape) > 2 else shape[::-1]
        convolution = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[len(sides) - 1]
        normalisation = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)[len(sides) - 1]
        widths = [channels, *(self.width * 2**block for block in range(self.num_blocks))]
        layers: list[nn.Module] = [] if len(sides) > 1 else [_channels_first()]
        for inner, outer in pairwise(widths):
            layers += [convolution(inner, outer, 3, stride=2, padding=1, bias=False), normalisation(outer), nn.ReLU()]
        network = nn.Sequential(*layers, _pooling([self._window(side) for side in sides]), nn.Flatten())
        with torch.no_grad():
            network.dim = network.eval()(torch.zeros(1, *shape)).shape[1]
        return network.train()

    def _window(self, side: int) -> int:
        """Side of the windows that a map of a side is averaged over after all blocks."""
        last: int = ceil(side / 2**self.num_blocks)
        return ceil(last / self.pool)


def _channels_first() -> "nn.Module":
    """(B, length, size) -> (B, size, length), 0 in the place of NaN."""
    from torch import nn

    class ChannelsFirst(nn.Module):
        def forward(self, steps: "Tensor") -> "Tensor":
            return steps.nan_to_num().transpose(1, 2)

    return ChannelsFirst()


def _pooling(window: list[int]) -> "nn.Module":
    """Means over windows; adaptive and three-dimensional pooling have no deterministic gradient on CUDA."""
    from torch import nn

    if len(window) == 1:
        return nn.AvgPool1d(window[0], ceil_mode=True)
    over_space = nn.AvgPool2d((window[-2], window[-1]), ceil_mode=True)
    if len(window) == 2:
        return over_space

    class OverSpaceAndTime(nn.Module):
        def forward(self, maps: "Tensor") -> "Tensor":
            pooled = over_space(maps.flatten(1, 2)).unflatten(1, maps.shape[1:3])
            means: Tensor = over_time(pooled.flatten(3).transpose(2, 3).flatten(1, 2))
            return means

    over_time = nn.AvgPool1d(window[0], ceil_mode=True)
    return OverSpaceAndTime()
