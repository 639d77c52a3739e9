"""A bag of word embeddings for short texts."""

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from bss.data.packed import PADDING, UNKNOWN
from bss.encoders.encoder import Encoder
from bss.errors import InputError

if TYPE_CHECKING:
    from torch import nn

    from bss.data.packed import ModalityMeta

SPREAD = 0.1  # of the first embeddings: away from the usual 1.0 a small learning rate takes long


class TextEmbedding(Encoder):
    """The mean of the embeddings of a text's words in any order, and maybe a hidden layer with ReLU."""

    width: Annotated[int, Field(ge=1)] = 64
    """Width of an embedding and of the hidden layer."""
    hidden: bool = False
    """Whether a layer with ReLU follows the mean."""

    def build(self, modality: "ModalityMeta") -> "nn.Module":
        """(B, length) -> (B, width); a text of nothing but padding has the mean zero."""
        import torch
        from torch import Tensor, nn

        if modality.tokens is None:
            raise InputError(f"text_embedding takes the ids of words, got quantities of the shape {modality.shape}")

        class Bag(nn.EmbeddingBag):
            """Ids (B, length), float32 as each branch gives them -> mean embedding of what is no padding."""

            def forward(self, ids: Tensor) -> Tensor:  # type: ignore[override]
                return super().forward(ids.long())

        # Of the ways to a mean of embeddings this one has a deterministic gradient on CUDA, leaves the padding out
        # by itself and gives zeros where nothing is left.
        is_own = modality.padding is None  # else the ids are those of a published tokenizer
        bag = Bag(len(modality.tokens), self.width, mode="mean", padding_idx=PADDING if is_own else modality.padding)
        with torch.no_grad():
            bag.weight.mul_(SPREAD)
            if is_own:
                bag.weight[UNKNOWN] = 0  # an id that no training text may hold says nothing
        hidden = [nn.Linear(self.width, self.width), nn.ReLU()] if self.hidden else []
        network = nn.Sequential(bag, *hidden)
        network.dim = self.width  # type: ignore[assignment]
        return network
