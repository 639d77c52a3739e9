"""Mutual information of numbers, from histograms of equally wide bins."""

from collections.abc import Sequence

import torch
from torch import Tensor

TINY = 1e-10
"""What the released code divides by where a bin is empty."""


def shares(values: Sequence[Tensor], bins: int) -> Tensor:
    """The share of each cell of a histogram over the range of each variable, (bins,) * number of variables, float64.

    Args:
        values: variables, (n,) each, finite.
        bins: of each.
    """
    places = torch.zeros(len(values[0]), dtype=torch.int64, device=values[0].device)
    for variable in values:
        numbers = variable.detach().double()
        low, width = numbers.min(), numbers.max() - numbers.min()
        bin_ = ((numbers - low) / width.where(width > 0, 1.0) * bins).long().clamp(max=bins - 1)
        places = places * bins + bin_
    counts = torch.bincount(places, minlength=bins ** len(values)).double()
    return (counts / counts.sum()).reshape([bins] * len(values))


def normalised_information(x: Tensor, h: Tensor, bins: int = 30) -> float:
    """2 I(x; h) / (H(x) + H(h)), in [0, 1]; 0 where neither varies.

    Args:
        x: (n,).
        h: (n,).
        bins: of each.
    """
    joint = shares([x, h], bins)
    single = _entropy(joint.sum(dim=1)) + _entropy(joint.sum(dim=0))
    return _ratio(2 * (single - _entropy(joint)), single)


def normalised_conditional_information(x: Tensor, h: Tensor, z: Tensor, bins: int = 2) -> float:
    """2 I(x; h | z) / (H(x | z) + H(h | z)), in [0, 1]; 0 where z leaves neither open.

    Args:
        x: (n,).
        h: (n,).
        z: (n,).
        bins: of each.
    """
    joint = shares([x, h, z], bins)
    of_z = _entropy(joint.sum(dim=(0, 1)))
    open_x, open_h = (_entropy(joint.sum(dim=axis)) - of_z for axis in (1, 0))
    return _ratio(2 * (open_x + open_h - _entropy(joint) + of_z), open_x + open_h)


def released_conditional_information(x: Tensor, h: Tensor, z: Tensor, bins: int = 2) -> float:
    """What ARM's code computes in the place of `normalised_conditional_information`; it may be of any sign and size.

    The joint shares are divided by those of z along the first axis, where z is the last, and their terms have no
    weights; a table without that axis is taken once for each bin of z. The 2 is missing.

    Args:
        x: (n,).
        h: (n,).
        z: (n,).
        bins: of each.
    """
    joint = shares([x, h, z], bins)
    of_z = joint.sum(dim=(0, 1))
    divisor = of_z.where(of_z > 0, TINY)[:, None, None]
    open_x, open_h, open_both = (_entropy(table / divisor) for table in (joint.sum(dim=1), joint.sum(dim=0), joint))
    return _ratio(open_x + open_h - open_both, open_x + open_h)


def _entropy(parts: Tensor) -> float:
    return float(torch.special.entr(parts).sum())


def _ratio(value: float, whole: float) -> float:
    return value / whole if abs(whole) > TINY else 0.0
