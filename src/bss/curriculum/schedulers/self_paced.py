"""The samples that the model finds easy now, and more of them as the threshold rises."""

from typing import Annotated

import numpy as np
from pydantic import BeforeValidator, Field

from bss.curriculum.order import is_in_play
from bss.curriculum.pacing.linear import Linear
from bss.curriculum.pacing.pacing import PACINGS, Pacing
from bss.curriculum.schedulers._measuring import Measuring
from bss.curriculum.shares import Shares
from bss.measure.ranks import ALONE, AllRanks


class SelfPaced(Measuring):
    """Fresh scores every epoch; in play are the samples within a threshold of the best score.

    With `score.criteria: [training_loss]` that is the loss threshold of self-paced learning (Kumar, Packer, Koller,
    NeurIPS 2010): 1 - score, scaled to [0, 1], at most the pacing. Unlike `heuristic` it limits the value, not the
    place in the order, so the number in play follows the model.
    """

    pacing: Annotated[Pacing, BeforeValidator(PACINGS.build)] = Linear(start=0.2)
    """Progress -> threshold in (0, 1]; 1 plays everything."""
    grow_epochs: Annotated[int, Field(ge=1)] = 40
    """Epochs until the threshold is 1, T_grow."""
    min_in_play: Annotated[int, Field(ge=1)] = 32
    """Number of samples in play at least, of those there are, the best ones: a single score far from all others would
    make epochs of one sample."""

    def probabilities(self, scores: np.ndarray) -> np.ndarray:
        """Equal for the samples in play at the start, 0 for the others."""
        chosen = self._in_play(scores, 0)
        return np.asarray(chosen / chosen.sum())

    def indices(self, scores: np.ndarray, epoch: int, generator: np.random.Generator) -> np.ndarray:
        """The samples in play, shuffled."""
        return generator.permutation(np.flatnonzero(self._in_play(scores, epoch)))

    def share(self, scores: np.ndarray, epoch: int, shares: Shares) -> np.ndarray:
        """The own samples in play, shuffled; the threshold is from the best score of all ranks."""
        return shares.generator.permutation(np.flatnonzero(self._in_play(scores, epoch, shares.ranks)))

    def update(self, scores: np.ndarray, fresh: np.ndarray, num_measured: np.ndarray) -> np.ndarray:
        """The fresh scores."""
        return fresh

    def _in_play(self, scores: np.ndarray, epoch: int, ranks: AllRanks = ALONE) -> np.ndarray:
        low, high = ranks.extent(float(scores.min()), float(scores.max()))
        threshold = self.pacing(min(1.0, epoch / self.grow_epochs))
        distance = scores - low if self.anti else high - scores
        chosen = np.asarray(distance <= threshold * (high - low))
        least = min(self.min_in_play, int(ranks.each(len(scores)).sum()))
        if ranks.each(np.count_nonzero(chosen)).sum() >= least:
            return chosen
        return is_in_play(scores, least, ranks, anti=self.anti)
