"""Confidence of the prediction."""

from typing import TYPE_CHECKING

from bss.curriculum.acquisitions._uncertainty import Uncertain

if TYPE_CHECKING:
    from torch import Tensor


class LeastConfidence(Uncertain):
    """The pairs whose most probable class has the smallest probability."""

    def uncertainty(self, probabilities: "Tensor") -> "Tensor":
        """1 less the largest probability, in [0, 1 - 1 / C]."""
        return 1 - probabilities.amax(dim=1)
