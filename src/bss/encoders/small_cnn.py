"""A small convolutional network for spectrograms and images, fast on a CPU."""

from itertools import pairwise
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from bss.encoders.encoder import Encoder

if TYPE_CHECKING:
    from torch import nn


class SmallCNN(Encoder):
    """Blocks of 3 x 3 convolution (stride 2), batch normalisation and ReLU, each twice as wide as the last."""

    width: Annotated[int, Field(ge=1)] = 8
    """Channels of the first block."""
    num_blocks: Annotated[int, Field(ge=1)] = 3
    pool: Annotated[int, Field(ge=1)] = 2
    """Side of the grid that the last feature map is averaged to."""

    def build(self, shape: tuple[int, ...]) -> "nn.Module":
        """(B, channels, H, W) -> (B, dim)."""
        from torch import nn

        if len(shape) != 3:
            raise ValueError(f"small_cnn takes samples of the shape (channels, height, width), got {shape}")
        widths = [shape[0], *(self.width * 2**block for block in range(self.num_blocks))]
        layers: list[nn.Module] = []
        for inner, outer in pairwise(widths):
            layers += [
                nn.Conv2d(inner, outer, 3, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(outer),
                nn.ReLU(),
            ]
        network = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(self.pool), nn.Flatten())
        network.dim = widths[-1] * self.pool**2
        return network
