"""Entropy of the prediction."""

from typing import TYPE_CHECKING

from bss.curriculum.acquisitions._uncertainty import Uncertain

if TYPE_CHECKING:
    from torch import Tensor


class Entropy(Uncertain):
    """The pairs whose prediction has the largest entropy."""

    def uncertainty(self, probabilities: "Tensor") -> "Tensor":
        """Entropy in nats, in [0, log C]."""
        import torch

        logs = probabilities.clamp(min=torch.finfo(probabilities.dtype).tiny).log()
        return -(probabilities * logs).sum(dim=1)
