"""ResNet-18 for images and spectrograms."""

from typing import TYPE_CHECKING, cast

from bss.encoders.encoder import Encoder

if TYPE_CHECKING:
    from torch import Tensor, nn

    from bss.data.packed import ModalityMeta


class ResNet18(Encoder):
    """torchvision's ResNet-18 from random weights; its first convolution takes any number of channels."""

    def build(self, modality: "ModalityMeta") -> "nn.Module":
        """(B, channels, H, W) -> (B, 512)."""
        from torch import nn
        from torchvision.models import resnet18

        if len(modality.shape) != 3:
            raise ValueError(f"resnet18 takes samples of the shape (channels, height, width), got {modality.shape}")
        network = resnet18()
        network.conv1 = nn.Conv2d(modality.shape[0], 64, 7, stride=2, padding=3, bias=False)
        nn.init.kaiming_normal_(network.conv1.weight, mode="fan_out", nonlinearity="relu")
        network.avgpool = _mean_of_each_map()
        network.dim = network.fc.in_features
        network.fc = nn.Identity()
        return cast("nn.Module", network)


def _mean_of_each_map() -> "nn.Module":
    """Adaptive pooling to 1 x 1 without its gradient, which is not deterministic on CUDA."""
    from torch import nn

    class Mean(nn.Module):
        def forward(self, maps: "Tensor") -> "Tensor":
            return maps.mean(dim=(2, 3), keepdim=True)

    return Mean()
