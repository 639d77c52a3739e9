"""How much surer of the true class one modality is than the others."""

from typing import TYPE_CHECKING, TypeVar

import numpy as np

if TYPE_CHECKING:
    import polars as pl

Numbers = TypeVar("Numbers", np.ndarray, "pl.Expr")


def discrepancy_ratio(confidence: Numbers, total: Numbers, num_modalities: Numbers | int) -> Numbers:
    """The ratio of each modality, in [0, inf]: 1 is balanced, above it leads.

    Its mean probability of the true class over the mean of the other modalities'. For two that is the discrepancy
    ratio of OGM-GE (CVPR 2022), which takes it over a batch of training.

    Args:
        confidence: mean probability of the true class of each modality, in [0, 1].
        total: their sum.
        num_modalities: how many they are, two or more.
    """
    others = (total - confidence) / (num_modalities - 1)
    ratio: Numbers = confidence / others
    return ratio
