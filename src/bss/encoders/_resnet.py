"""Building of torchvision's residual networks, for every encoder of their family."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bss.encoders._pretrained import fit_weights, frames_apart, mean_over
from bss.errors import InputError

if TYPE_CHECKING:
    from torch import nn

    from bss.data.packed import ModalityMeta

NONE = "none"


def build_resnet(name: str, constructor: Callable[[], Any], modality: "ModalityMeta", weights: str) -> "nn.Module":
    """A residual network without its classifier, for images (B, C, H, W) or videos (B, C, T, H, W).

    Args:
        name: of the encoder.
        constructor: of torchvision.
        modality: the modality that is encoded.
        weights: `none`, or the path of a torchvision state dict.

    Raises:
        InputError: samples of another shape, or weights that do not fit.
    """
    from torch import nn

    if len(modality.shape) not in (3, 4) or modality.tokens is not None:
        raise InputError(
            f"{name} takes samples of the shape (channels, [frames,] height, width), got {modality.shape}"
        )
    network = constructor()
    network.conv1 = nn.Conv2d(modality.shape[0], 64, 7, stride=2, padding=3, bias=False)
    nn.init.kaiming_normal_(network.conv1.weight, mode="fan_out", nonlinearity="relu")
    network.avgpool = mean_over((2, 3))
    network.dim = network.fc.in_features
    network.fc = nn.Identity()
    if weights != NONE:
        fit_weights(network, Path(weights), "conv1.weight", "fc")
    result: nn.Module = frames_apart(network, network.dim) if len(modality.shape) == 4 else network
    return result
