"""A small convolutional network for spectrograms and images, fast on a CPU."""

from itertools import pairwise
from math import ceil
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from bss.encoders.encoder import Encoder
from bss.errors import InputError

if TYPE_CHECKING:
    from torch import nn

    from bss.data.packed import ModalityMeta


class SmallCNN(Encoder):
    """Blocks of 3 x 3 convolution (stride 2), batch normalisation and ReLU, each twice as wide as the last."""

    width: Annotated[int, Field(ge=1)] = 8
    """Channels of the first block."""
    num_blocks: Annotated[int, Field(ge=1)] = 3
    pool: Annotated[int, Field(ge=1)] = 2
    """The last feature map is averaged to a grid of at most this many windows a side."""

    def build(self, modality: "ModalityMeta") -> "nn.Module":
        """(B, channels, H, W) -> (B, dim)."""
        import torch
        from torch import nn

        shape = modality.shape
        if len(shape) != 3:
            raise InputError(f"small_cnn takes samples of the shape (channels, height, width), got {shape}")
        channels, height, width = shape
        widths = [channels, *(self.width * 2**block for block in range(self.num_blocks))]
        layers: list[nn.Module] = []
        for inner, outer in pairwise(widths):
            layers += [nn.Conv2d(inner, outer, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(outer), nn.ReLU()]
        # Adaptive pooling has no deterministic gradient on CUDA.
        window = (self._window(height), self._window(width))
        network = nn.Sequential(*layers, nn.AvgPool2d(window, ceil_mode=True), nn.Flatten())
        with torch.no_grad():
            network.dim = network.eval()(torch.zeros(1, *shape)).shape[1]
        return network.train()

    def _window(self, side: int) -> int:
        """Side of the windows that a map of a side is averaged over after all blocks."""
        last: int = ceil(side / 2**self.num_blocks)
        return ceil(last / self.pool)
