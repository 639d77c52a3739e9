"""The contract of a modality encoder."""

from abc import abstractmethod
from typing import TYPE_CHECKING

from bss.registry import Component, Registry

if TYPE_CHECKING:
    from torch import nn


class Encoder(Component):
    """The hyper-parameters of a network that turns one modality into a vector."""

    @abstractmethod
    def build(self, shape: tuple[int, ...]) -> "nn.Module":
        """The network for samples of a shape: `forward` maps (B, *shape) float32 to (B, dim), `.dim` is its width.

        Raises:
            ValueError: the encoder cannot take that shape.
        """


ENCODERS: Registry[Encoder] = Registry("encoder", "bss.encoders", Encoder, helpers=("model",))
