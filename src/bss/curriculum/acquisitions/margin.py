"""Margin of the prediction."""

from typing import TYPE_CHECKING

from bss.curriculum.acquisitions._uncertainty import Uncertain

if TYPE_CHECKING:
    from torch import Tensor


class Margin(Uncertain):
    """The pairs whose two most probable classes are nearest to each other."""

    def uncertainty(self, probabilities: "Tensor") -> "Tensor":
        """Second largest less largest probability, in [-1, 0]."""
        first, second = probabilities.topk(2, dim=1).values.unbind(dim=1)
        return second - first
