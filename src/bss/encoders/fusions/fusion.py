"""The contract of a fusion."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING

from bss.registry import Component, Registry

if TYPE_CHECKING:
    from torch import nn


class Fusion(Component):
    """The hyper-parameters of a network that turns the features of all modalities into one prediction."""

    @abstractmethod
    def build(self, widths: Mapping[str, int], num_classes: int) -> "nn.Module":
        """The network: `forward` maps modality -> features (B, width) to logits (B, C).

        A sample's features are all zero where it lacks that modality; the logits are finite for any set of them.

        Args:
            widths: modality -> the width of its features.
            num_classes: C.

        Raises:
            InputError: the fusion cannot join these modalities.
        """


FUSIONS: Registry[Fusion] = Registry("fusion", "bss.encoders.fusions", Fusion)
