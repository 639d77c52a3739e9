"""BADGE: pairs whose gradients are large and lie apart."""

import numpy as np

from bss.curriculum.acquisitions.acquisition import Acquisition, Pool


class Badge(Acquisition):
    """k-means++ among the gradients of the fused head at the predicted class.

    Source: Deep Batch Active Learning by Diverse, Uncertain Gradient Lower Bounds, ICLR 2020. A pair's gradient is
    the outer product of p - onehot(predicted class) and the features of all modalities.
    """

    def choose(self, pool: Pool, num: int, generator: np.random.Generator) -> np.ndarray:
        """The pair of the largest gradient, then by squared distances."""
        from bss.curriculum.acquisitions._diversity import Points, k_means_plus_plus
        from bss.curriculum.acquisitions._gradients import errors_at_the_prediction

        points = Points([errors_at_the_prediction(pool), pool.features(pool.unlabelled)])
        return pool.asked(k_means_plus_plus(points, num, generator))
