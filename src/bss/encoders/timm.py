"""Any image network of the timm collection."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from bss.encoders._pretrained import fit_weights, frames_apart, library, probed
from bss.encoders.encoder import Encoder
from bss.errors import InputError

if TYPE_CHECKING:
    from torch import nn

    from bss.data.packed import ModalityMeta


class Timm(Encoder):
    """`timm.create_model` without its classifier, for the channels of the modality.

    A video gives the mean over its frames.

    Some networks have layers whose gradient is not deterministic on CUDA; torch says which, and
    `runtime.deterministic: false` lets them train.
    """

    model: str = "resnet18"
    """A name of `timm.list_models()`."""
    pretrained_path: str | None = None
    """A state dict of that model (`.pth` or `.safetensors`) on this machine; random weights where left out."""

    def build(self, modality: "ModalityMeta") -> "nn.Module":
        """(B, channels, [frames,] H, W) -> (B, num_features)."""
        import torch

        shape = modality.shape
        if len(shape) not in (3, 4) or modality.tokens is not None:
            raise InputError(f"timm takes samples of the shape (channels, [frames,] height, width), got {shape}")
        network = self._network(shape[0], shape[-2:])
        if self.pretrained_path is not None:
            about = network.pretrained_cfg
            fit_weights(network, Path(self.pretrained_path), f"{about['first_conv']}.weight", about["classifier"])
        with torch.no_grad():
            features = probed(self.name, shape, network.eval(), torch.zeros(1, shape[0], *shape[-2:]))
        network.train().dim = features.shape[1]
        result: nn.Module = frames_apart(network, network.dim) if len(shape) == 4 else network
        return result

    def _network(self, channels: int, size: tuple[int, ...]) -> Any:
        timm = library(self.name, "timm")
        if not timm.is_model(self.model):
            near = ", ".join(timm.list_models(f"*{self.model}*")[:5])
            raise InputError(f"timm knows no model '{self.model}'" + (f" (it has {near})" if near else ""))
        options = {"pretrained": False, "in_chans": channels, "num_classes": 0}
        try:  # a network with places for its patches has to know the size, others do not take it
            return timm.create_model(self.model, img_size=size, **options)
        except TypeError:
            return timm.create_model(self.model, **options)
        except (AssertionError, RuntimeError) as error:
            raise InputError(f"timm takes sizes that {self.model} takes, got {size}: {error}") from error
