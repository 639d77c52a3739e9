"""ResNet-50 for images, spectrograms and videos."""

from typing import TYPE_CHECKING

from bss.encoders._resnet import NONE, build_resnet
from bss.encoders.encoder import Encoder

if TYPE_CHECKING:
    from torch import nn

    from bss.data.packed import ModalityMeta


class ResNet50(Encoder):
    """torchvision's ResNet-50; its first convolution takes any channels, and a video gives the frames' mean."""

    weights: str = NONE
    """`none` for random ones, or the path of a torchvision state dict (`.pth` or `.safetensors`)."""

    def build(self, modality: "ModalityMeta") -> "nn.Module":
        """(B, channels, [frames,] H, W) -> (B, 2048)."""
        from torchvision.models import resnet50

        return build_resnet(self.name, resnet50, modality, self.weights)
