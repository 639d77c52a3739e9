"""CoreSet: pairs that are farthest from every labelled one."""

import numpy as np

from bss.curriculum.acquisitions.acquisition import Acquisition, Pool


class Coreset(Acquisition):
    """Greedy k-center on the features of all modalities, with the labelled pairs as the first centres.

    Source: Active Learning for Convolutional Neural Networks: A Core-Set Approach, ICLR 2018.
    """

    def choose(self, pool: Pool, num: int, generator: np.random.Generator) -> np.ndarray:
        """The farthest, one after the other; nothing is drawn."""
        from bss.curriculum.acquisitions._diversity import Points, k_center

        points = Points([pool.features(np.arange(len(pool.is_labelled)))])
        return k_center(points, np.flatnonzero(pool.is_labelled).tolist(), num)
