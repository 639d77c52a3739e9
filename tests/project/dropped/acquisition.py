"""The pairs of the lowest index."""

import numpy as np

from bss.curriculum.acquisitions.acquisition import Acquisition, Pool


class Dropped(Acquisition):
    """From the start of the pool."""

    def choose(self, pool: Pool, num: int, generator: np.random.Generator) -> np.ndarray:
        """The first that have no label."""
        return pool.unlabelled[:num]
