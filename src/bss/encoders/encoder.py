"""The contract of a modality encoder."""

from abc import abstractmethod
from typing import TYPE_CHECKING

from bss.registry import Component, Registry

if TYPE_CHECKING:
    from torch import nn

    from bss.data.packed import ModalityMeta


class Encoder(Component):
    """The hyper-parameters of a network that turns one modality into a vector."""

    @abstractmethod
    def build(self, modality: "ModalityMeta") -> "nn.Module":
        """The network for samples of a modality: `forward` maps (B, *shape) float32 to (B, dim), `.dim` is its width.

        Where `modality.tokens` are given the values are whole numbers, the ids of words.

        Raises:
            InputError: the encoder cannot take that modality.
        """


ENCODERS: Registry[Encoder] = Registry("encoder", "bss.encoders", Encoder)
