"""ResNet-18 for images, spectrograms and videos."""

from typing import TYPE_CHECKING

from bss.encoders._resnet import NONE, build_resnet
from bss.encoders.encoder import Encoder

if TYPE_CHECKING:
    from torch import nn

    from bss.data.packed import ModalityMeta


class ResNet18(Encoder):
    """torchvision's ResNet-18; its first convolution takes any channels, and a video gives the frames' mean."""

    weights: str = NONE
    """`none` for random ones, or the path of a torchvision state dict (`.pth` or `.safetensors`)."""

    def build(self, modality: "ModalityMeta") -> "nn.Module":
        """(B, channels, [frames,] H, W) -> (B, 512)."""
        from torchvision.models import resnet18

        return build_resnet(self.name, resnet18, modality, self.weights)
