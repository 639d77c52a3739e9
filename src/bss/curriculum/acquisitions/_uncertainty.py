"""Acquisitions that ask where the predictions are least sure."""

from abc import abstractmethod
from typing import TYPE_CHECKING, Literal

import numpy as np

from bss.curriculum.acquisitions.acquisition import Acquisition, Pool
from bss.curriculum.order import largest
from bss.types import FUSED

if TYPE_CHECKING:
    from torch import Tensor


class Uncertain(Acquisition):
    """The pairs of the largest uncertainty."""

    outputs: Literal["fused", "mean"] = "fused"
    """Whose uncertainty: of the fusion, or the mean of those of the modalities."""

    @abstractmethod
    def uncertainty(self, probabilities: "Tensor") -> "Tensor":
        """The uncertainty (U,) of predictions (U, C); larger is less sure."""

    def choose(self, pool: Pool, num: int, generator: np.random.Generator) -> np.ndarray:
        """The most uncertain; of equal ones those of the lower index."""
        import torch

        names = [FUSED] if self.outputs == "fused" else pool.evidence.modalities
        of_outputs = [self.uncertainty(pool.logits(name).softmax(dim=1)) for name in names]
        return pool.asked(largest(torch.stack(of_outputs).mean(dim=0).numpy(), num))
