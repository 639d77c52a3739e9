"""BMMAL: BADGE's gradients, shorter where one modality decides alone."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from bss.curriculum.acquisitions.acquisition import Acquisition, Pool

if TYPE_CHECKING:
    from torch import Tensor


class Bmmal(Acquisition):
    """k-means++ among BADGE's gradients, in which the block of a weaker modality is scaled down.

    Source: Towards Balanced Active Learning for Multimodal Classification, ACM MM 2023; as released, so the gradient
    is that of the fused prediction for every modality. More than two modalities: INFERRED, the same rule with Shapley
    values over all sets of modalities.
    """

    def choose(self, pool: Pool, num: int, generator: np.random.Generator) -> np.ndarray:
        """The pair of the largest scaled gradient, then by squared distances."""
        from bss.curriculum.acquisitions._diversity import Points, k_means_plus_plus
        from bss.curriculum.acquisitions._gradients import errors_at_the_prediction
        from bss.measure.shapley import shapley_values

        scales = scaling(shapley_values(pool.confidences()))
        points = Points([errors_at_the_prediction(pool), pool.features(pool.unlabelled, scales=scales)])
        return pool.asked(k_means_plus_plus(points, num, generator))


def scaling(contributions: Mapping[str, "Tensor"]) -> dict[str, "Tensor"]:
    """Modality -> the factor (N,), in [0, 1], of its block: 1 - (largest share - its own).

    Args:
        contributions: modality -> its Shapley value (N,) in the probability of the predicted class.
    """
    import torch

    from bss.measure.shapley import absolute_shares

    parts = absolute_shares(contributions)
    most = torch.stack([*parts.values()]).amax(dim=0)
    return {name: (1 - (most - part)).float() for name, part in parts.items()}
