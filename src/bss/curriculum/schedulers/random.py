"""Random order: the baseline of every comparison."""

import numpy as np

from bss.curriculum.schedulers.scheduler import Scheduler
from bss.curriculum.shares import Shares


class Random(Scheduler):
    """Every sample once an epoch, shuffled anew; the scores are not looked at, so `anti` changes nothing."""

    def indices(self, scores: np.ndarray, epoch: int, generator: np.random.Generator) -> np.ndarray:
        """A permutation of all samples."""
        return generator.permutation(len(scores))

    def share(self, scores: np.ndarray, epoch: int, shares: Shares) -> np.ndarray:
        """A permutation of the own samples."""
        return shares.generator.permutation(len(scores))
