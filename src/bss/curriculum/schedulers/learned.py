"""Scores that grow with the model, and samples drawn by them."""

from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from bss.curriculum.order import COUNTS, DRAWS, softmax, weighted_permutation
from bss.curriculum.schedulers._measuring import Measuring
from bss.curriculum.shares import Shares
from bss.errors import InputError


class Learned(Measuring):
    """Samples drawn by their scores, which are measured again while the model grows.

    Source: BSS (IJCAI 2025), BSS-L. `published`: a moving average of the scores, p = softmax(score / temperature),
    with replacement. `released` is what the authors' code does: the fresh scores alone, weights 1.01 + score, without
    replacement, so that every sample comes once an epoch and only the order changes.
    """

    variant: Literal["published", "released"] = "published"
    """`released`: the authors' code, a weighted permutation by fresh scores alone."""
    beta: Annotated[float, Field(ge=0, le=1)] = 0.6
    """Weight of the fresh score: (1 - beta) old + beta fresh. `released` takes 1."""
    temperature: Annotated[float, Field(gt=0)] = 1.0
    """Divisor of the scores in the softmax: with scores in [-1, 1] and temperature 1 no sample is more than e^2 = 7.4
    times as likely as another. It and `draw` count for `published` alone."""
    draw: Literal["multinomial", "systematic"] = "multinomial"
    """Independent draws, or evenly spaced ones with the least variance."""

    def probabilities(self, scores: np.ndarray) -> np.ndarray:
        """Softmax of the scores, or `released` weights divided by their sum; of the negated scores where `anti`.

        Raises:
            InputError: `released`, and a score lies outside [-1, 1], where the weights were made for.
        """
        signed = -scores if self.anti else scores
        if self.variant == "published":
            return softmax(signed, self.temperature)
        _check_released(float(scores.min()), float(scores.max()))
        weights = 1.01 + signed
        return np.asarray(weights / weights.sum())

    def indices(self, scores: np.ndarray, epoch: int, generator: np.random.Generator) -> np.ndarray:
        """N draws."""
        probabilities = self.probabilities(scores)
        if self.variant == "released":
            return weighted_permutation(probabilities, generator)
        return DRAWS[self.draw](probabilities, len(scores), generator)

    def share(self, scores: np.ndarray, epoch: int, shares: Shares) -> np.ndarray:
        """The draws of N that fall on this rank's share; `released`, a weighted permutation of the own samples.

        Independent draws are divided over the ranks by their part in the sum of the weights as the draws from all
        samples would be: the number of times that each sample comes has the same distribution. Evenly spaced draws
        are divided so that each part has floor or ceil of its expected number: a sample comes p N times in
        expectation, and never 1 + 2 p / P more or less often, where P is the probability of its block.
        """
        sign = -1 if self.anti else 1
        low, high = shares.ranks.extent(float(scores.min()), float(scores.max()))
        if self.variant == "released":
            _check_released(low, high)
            return weighted_permutation(np.float32(1.01) + sign * scores, shares.generator)
        largest = max(sign * low, sign * high)
        return shares.draws(
            lambda part: np.exp((sign * scores[part].astype(np.float64) - largest) / self.temperature),
            len(scores),
            COUNTS[self.draw],
        )

    def update(self, scores: np.ndarray, fresh: np.ndarray, num_measured: np.ndarray) -> np.ndarray:
        """The moving average, or the fresh scores themselves."""
        return fresh if self.variant == "released" else (1 - self.beta) * scores + self.beta * fresh


def _check_released(low: float, high: float) -> None:
    if max(-low, high) > 1 + 1e-9:
        raise InputError(f"the released weights need scores in [-1, 1]; they lie in {low, high}")
