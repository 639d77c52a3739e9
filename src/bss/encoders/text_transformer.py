"""A small transformer over the words of a text, from random weights."""

from typing import TYPE_CHECKING, Annotated, Self

from pydantic import Field, model_validator

from bss.data.packed import PADDING
from bss.encoders.encoder import Encoder
from bss.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from bss.data.packed import ModalityMeta

SPREAD = 0.02  # of the first embeddings of words and places, as in BERT


class TextTransformer(Encoder):
    """Words and their places are embedded, look at each other in layers, and are averaged. There is no dropout."""

    width: Annotated[int, Field(ge=1)] = 64
    """Size of a token, which the features have."""
    num_layers: Annotated[int, Field(ge=1)] = 2
    """Layers of self-attention."""
    num_heads: Annotated[int, Field(ge=1)] = 4
    """Heads of a layer; `width` is a multiple of it."""

    @model_validator(mode="after")
    def _heads_share_the_width(self) -> Self:
        if self.width % self.num_heads:
            raise InputError(f"width {self.width} is not a multiple of num_heads {self.num_heads}")
        return self

    def build(self, modality: "ModalityMeta") -> "nn.Module":
        """(B, length) -> (B, width); padding is neither looked at nor averaged, nothing but padding gives zeros."""
        import torch
        from torch import nn

        if modality.tokens is None:
            raise InputError(f"text_transformer takes the ids of words, got quantities of the shape {modality.shape}")
        length, num_tokens = modality.shape[0], len(modality.tokens)
        padding = PADDING if modality.padding is None else modality.padding

        class Reader(nn.Module):
            def __init__(self, dim: int, layers: nn.Module) -> None:
                super().__init__()
                self.dim = dim
                self.words = nn.Embedding(num_tokens, dim, padding_idx=padding)
                self.places = nn.Parameter(SPREAD * torch.randn(length, dim))
                self.layers = layers
                with torch.no_grad():
                    self.words.weight.mul_(SPREAD)

            def forward(self, ids: "Tensor") -> "Tensor":
                ids = ids.long()
                there = ids != padding
                # Attention to nothing at all is NaN: a text without a word looks at its padding, and counts zero.
                hidden = ~there & there.any(dim=1, keepdim=True)
                read: Tensor = self.layers(self.words(ids) + self.places, src_key_padding_mask=hidden)
                counts = there.sum(dim=1, keepdim=True).clamp(min=1)
                return (read * there[..., None]).sum(dim=1) / counts

        return Reader(self.width, self._layers())

    def _layers(self) -> "nn.Module":
        from torch import nn

        layer = nn.TransformerEncoderLayer(
            self.width, self.num_heads, 4 * self.width, dropout=0.0, batch_first=True, norm_first=True
        )
        # Nested tensors drop the padding and with it the shape.
        return nn.TransformerEncoder(layer, self.num_layers, nn.LayerNorm(self.width), enable_nested_tensor=False)
