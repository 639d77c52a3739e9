"""Joint training in which the modalities share one weight."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pydantic import Field

from bss.training.methods.method import Method
from bss.types import FUSED

if TYPE_CHECKING:
    from torch import Tensor


class Dropped(Method):
    """The cross-entropy of the fusion, and of every modality by weight."""

    share: float = Field(default=0.5, gt=0)

    def loss(self, logits: Mapping[str, "Tensor"], labels: "Tensor") -> "Tensor":
        """Mean over the batch, summed over the outputs by weight."""
        import torch

        from bss.training.losses import cross_entropy

        weights = {output: 1.0 if output == FUSED else self.share for output in logits}
        return torch.stack([weights[output] * cross_entropy(logits[output], labels) for output in logits]).sum()
