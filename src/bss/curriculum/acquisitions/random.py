"""Labels at random: what every other acquisition is compared with."""

import numpy as np

from bss.curriculum.acquisitions.acquisition import Acquisition, Pool


class Random(Acquisition):
    """Any unlabelled pairs, each as likely as another."""

    def choose(self, pool: Pool, num: int, generator: np.random.Generator) -> np.ndarray:
        """Drawn without replacement."""
        return generator.choice(pool.unlabelled, num, replace=False)
