"""Scores that grow with the model, and samples drawn by them."""

from typing import Annotated

import numpy as np
from pydantic import Field

from bss.curriculum.order import softmax
from bss.curriculum.schedulers.scheduler import Scheduler


class Learned(Scheduler):
    """Drawn with replacement, p = softmax(score / temperature), scores a moving average of fresh ones.

    Source: BSS (IJCAI 2025), BSS-L. The released code has no moving average and no replacement.
    """

    beta: Annotated[float, Field(ge=0, le=1)] = 0.6
    """Weight of the fresh score: (1 - beta) old + beta fresh."""
    refresh_every: Annotated[int, Field(ge=1)] = 1
    """Epochs between two measurements (E)."""
    temperature: Annotated[float, Field(gt=0)] = 1.0
    """With scores in [-1, 1] and temperature 1 no sample is more than e^2 = 7.4 times as likely as another."""

    def probabilities(self, scores: np.ndarray) -> np.ndarray:
        """Softmax of the scores, of the negated ones where `anti`."""
        return softmax(-scores if self.anti else scores, self.temperature)

    def indices(self, scores: np.ndarray, epoch: int, generator: np.random.Generator) -> np.ndarray:
        """N independent draws."""
        return generator.choice(len(scores), size=len(scores), p=self.probabilities(scores))

    def refreshes(self, epoch: int) -> bool:
        """Every `refresh_every` epochs; the scores before the first epoch are those of the warm-up."""
        return epoch > 0 and epoch % self.refresh_every == 0

    def update(self, scores: np.ndarray, fresh: np.ndarray) -> np.ndarray:
        """The moving average."""
        return (1 - self.beta) * scores + self.beta * fresh
