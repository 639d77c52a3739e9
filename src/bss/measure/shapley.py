"""Shapley values: the part of a value that each modality brings, over all sets of modalities."""

from collections.abc import Mapping
from math import factorial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

Subset = frozenset[str]
"""Names of modalities."""


def shapley_values(values: Mapping[Subset, "Tensor"]) -> dict[str, "Tensor"]:
    """Modality -> phi = sum over S without it of |S|! (M - |S| - 1)! / M! (v(S with it) - v(S)), float64.

    They add up to v(all) - v(none). Of whole numbers they are as exact as division is: the sums are of integers.

    Args:
        values: set of modalities -> v, of any shape, for all 2^M sets.
    """
    everything = max(values, key=len)
    num = len(everything)
    weights = [factorial(size) * factorial(num - size - 1) for size in range(num)]
    found = {}
    for name in sorted(everything):
        gains = [weights[len(some)] * (values[some | {name}] - values[some]) for some in values if name not in some]
        found[name] = sum(gains[1:], gains[0]).double() / factorial(num)
    return found


def absolute_shares(contributions: Mapping[str, "Tensor"]) -> dict[str, "Tensor"]:
    """Modality -> its part of the absolute contributions, of their shape; 1 / M where none contributes."""
    import torch

    sizes = torch.stack([values.abs() for values in contributions.values()])
    total = sizes.sum(dim=0)
    parts = torch.where(total > 0, sizes / total, torch.full_like(sizes, 1 / len(sizes)))
    return dict(zip(contributions, parts, strict=True))
