"""Convolutions over space and time for videos."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from bss.encoders._pretrained import fit_weights, mean_over, probed
from bss.encoders.encoder import Encoder
from bss.errors import InputError

if TYPE_CHECKING:
    from torch import nn

    from bss.data.packed import ModalityMeta

NONE = "none"
STEMS = {
    "r3d_18": "stem.0",
    "mc3_18": "stem.0",
    "r2plus1d_18": "stem.0",
    "s3d": "features.0.0.0",
    "i3d": "Conv3d_1a_7x7.conv3d",
}
HEADS = {"s3d": "classifier", "i3d": "logits"}


class Video3D(Encoder):
    """A video network without its classifier: of torchvision, or I3D. Its first convolution takes any channels.

    The last feature map is averaged whole, where S3D and I3D average windows of 2 x 7 x 7 first. Their pooling has
    no deterministic gradient on CUDA (`runtime.deterministic: false` lets them train there).
    """

    network: Literal["r3d_18", "mc3_18", "r2plus1d_18", "s3d", "i3d"] = "r3d_18"
    """Which network: those of torchvision, or I3D."""
    weights: str = NONE
    """`none` for random ones, or the path of a state dict (`.pt`, `.pth` or `.safetensors`): torchvision's, and for
    I3D those of `rgb_imagenet.pt` and `flow_imagenet.pt` and the like."""

    def build(self, modality: "ModalityMeta") -> "nn.Module":
        """(B, channels, frames, H, W) -> (B, 512), or (B, 1024) from S3D and I3D."""
        import torch

        shape = modality.shape
        if len(shape) != 4:
            raise InputError(f"video3d takes samples of the shape (channels, frames, height, width), got {shape}")
        network = self._headless(shape[0])
        if self.weights != NONE:
            fit_weights(network, Path(self.weights), f"{STEMS[self.network]}.weight", HEADS.get(self.network, "fc"))
        with torch.no_grad():
            features = probed(self.name, shape, network.eval(), torch.zeros(1, *shape))
        network.dim = features.shape[1]
        result: nn.Module = network.train()
        return result

    def _headless(self, channels: int) -> Any:
        from torch import nn

        if self.network == "i3d":
            from bss.encoders._i3d import I3D

            return I3D(channels)
        from torchvision.models import video

        network = getattr(video, self.network)()
        _set_stem(network, STEMS[self.network], channels)
        if self.network == "s3d":
            network.avgpool, network.classifier = nn.Identity(), nn.Identity()
        else:
            network.avgpool, network.fc = mean_over((2, 3, 4)), nn.Identity()
        return network


def _set_stem(network: Any, name: str, channels: int) -> None:
    """Replace the first convolution by one for another number of channels, else alike."""
    from torch import nn

    above, _, last = name.rpartition(".")
    old = network.get_submodule(name)
    new = nn.Conv3d(channels, old.out_channels, old.kernel_size, old.stride, old.padding, bias=False)
    nn.init.kaiming_normal_(new.weight, mode="fan_out", nonlinearity="relu")
    setattr(network.get_submodule(above), last, new)
