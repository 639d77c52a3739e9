"""The contract of a training method."""

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, ClassVar

from bss.registry import Component, Registry
from bss.types import FUSED

if TYPE_CHECKING:
    from torch import Tensor, nn

    from bss.encoders.model import MultimodalModel


class Method(Component):
    """What is minimised, and what of the model is kept of which epoch. A method overrides the smallest hook."""

    from_warmup: ClassVar[bool] = True
    """Whether training goes on from the warm-up's weights, or starts anew with the warm-up's epochs added."""

    @abstractmethod
    def loss(self, logits: Mapping[str, "Tensor"], labels: "Tensor") -> "Tensor":
        """The scalar that a step minimises.

        Args:
            logits: output name -> (B, C).
            labels: (B,), int64.
        """

    def selected(self, model: "MultimodalModel") -> Mapping[str, "nn.Module"]:
        """Output name -> the part of the model that is kept at that output's best epoch on validation."""
        return {FUSED: model}

    def judged(self, outputs: Iterable[str]) -> list[str]:
        """The outputs that the method trains, and evaluation therefore judges."""
        return list(outputs)


METHODS: Registry[Method] = Registry("training method", "bss.training.methods", Method)
