"""A transformer over the frames, and one over the joints, of moving bodies."""

from typing import TYPE_CHECKING, Annotated, Self

from pydantic import Field, model_validator

from bss.encoders.encoder import Encoder
from bss.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from bss.data.packed import ModalityMeta


class SkeletonTransformer(Encoder):
    """Two sets of tokens, each read by layers of its own, its maximum over the tokens taken, and both joined.

    A frame is a token of all its joints, with a sinusoidal place in time; a joint is a token of all its frames.

    Source: the encoder of one stream of UmURL (Sun et al., ACM MM 2023; there the width is 1024).
    """

    width: Annotated[int, Field(ge=2, multiple_of=2)] = 64
    """Numbers of a token; the features are twice as many."""
    num_heads: Annotated[int, Field(ge=1)] = 1
    """Heads of a layer; `width` is a multiple of it."""
    num_layers: Annotated[int, Field(ge=1)] = 1
    """Layers of self-attention."""

    @model_validator(mode="after")
    def _heads_share_the_width(self) -> Self:
        if self.width % self.num_heads:
            raise InputError(f"width {self.width} is not a multiple of num_heads {self.num_heads}")
        return self

    def build(self, modality: "ModalityMeta") -> "nn.Module":
        """(B, length, joints x coordinates) -> (B, 2 width)."""
        import torch
        from torch import nn

        shape, coordinates = modality.shape, modality.dimensions or 0
        if not coordinates or len(shape) != 2 or shape[1] % coordinates:
            raise InputError(
                f"skeleton_transformer takes joints over time, as of the kind skeleton, got {modality.kind} {shape}"
            )
        length, num_joints = shape[0], shape[1] // coordinates

        class Reader(nn.Module):
            places: "Tensor"

            def __init__(self, encoder: SkeletonTransformer) -> None:
                super().__init__()
                self.dim = 2 * encoder.width
                self.frames, self.joints = encoder._embedding(shape[1]), encoder._embedding(length * coordinates)
                self.over_time, self.over_joints = encoder._layers(), encoder._layers()
                self.register_buffer("places", sinusoids(length, encoder.width), persistent=False)

            def forward(self, values: "Tensor") -> "Tensor":
                joints = values.view(-1, length, num_joints, coordinates).transpose(1, 2).flatten(2)
                in_time = self.over_time(self.frames(values) + self.places)
                in_space = self.over_joints(self.joints(joints))
                return torch.cat([in_time.amax(dim=1), in_space.amax(dim=1)], dim=1)

        return Reader(self)

    def _embedding(self, size: int) -> "nn.Module":
        from torch import nn

        width = self.width
        return nn.Sequential(nn.Linear(size, width), nn.LayerNorm(width), nn.ReLU(), nn.Linear(width, width))

    def _layers(self) -> "nn.Module":
        from torch import nn

        layer = nn.TransformerEncoderLayer(self.width, self.num_heads, self.width, dropout=0.0, batch_first=True)
        return nn.TransformerEncoder(layer, self.num_layers, enable_nested_tensor=False)


def sinusoids(length: int, width: int) -> "Tensor":
    """Places in time as sines and cosines of falling frequencies, (length, width); the width is even.

    Source: Vaswani et al., NeurIPS 2017, section 3.5.
    """
    import torch

    rates = 10_000 ** (-torch.arange(0, width, 2) / width)
    angles = torch.arange(length)[:, None] * rates
    return torch.stack([angles.sin(), angles.cos()], dim=2).flatten(1)
