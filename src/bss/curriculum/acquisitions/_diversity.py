"""Choices that lie far apart: k-means++ and k-center, with the same results as if every distance were computed.

A sample stands for the outer product of its factors (one of them: the sample itself). The inner product of two outer
products is the product of those of their factors, so that a new centre costs a pass over the factors, and the
products themselves, C times as wide, are never made. A distance that was computed before there were some centres is
never too small, so most samples wait until several centres can be had in one product of matrices.
"""

from collections.abc import Sequence
from functools import reduce
from operator import mul

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

ROWS = 8192
"""Points whose distances are computed at a time."""
CENTRES = 64
"""Centres that wait at most."""


class Points:
    """N points, each the outer product of its row of every factor.

    Args:
        factors: each (N, width), float32.
    """

    def __init__(self, factors: Sequence[Tensor]) -> None:
        self._factors = factors
        self.squared_norms = reduce(mul, [torch.linalg.vecdot(factor, factor) for factor in factors])
        """(N,)."""

    def __len__(self) -> int:
        return len(self.squared_norms)

    def squared_distances(self, rows: NDArray[np.int64], centres: Sequence[int]) -> NDArray[np.float64]:
        """Of some points to the nearest of some centres, (len(rows),), at least 0."""
        there = torch.as_tensor(centres)
        found = []
        for part in torch.split(torch.from_numpy(rows), ROWS):
            inner = reduce(mul, [factor[part] @ factor[there].mT for factor in self._factors])
            inner.mul_(-2).add_(self.squared_norms[part][:, None]).add_(self.squared_norms[there])
            inner[part[:, None] == there] = 0
            found.append(inner.amin(dim=1))
        return torch.cat(found).clamp_(min=0).double().numpy()


def k_means_plus_plus(
    points: Points, num: int, generator: np.random.Generator, weights: NDArray[np.float64] | None = None
) -> NDArray[np.int64]:
    """Different places (num,), each drawn by its squared distance to the nearest that was drawn before.

    The first is that of the largest norm. Where all that are left lie on centres, those left are drawn alike. A draw
    by distances that leave out some centres is kept with a probability of the distance over the one that it was drawn
    by, so that what is kept was drawn by the distances.

    Args:
        points: at least `num`.
        num: how many.
        generator: of the draws.
        weights: (N,), more than 0; they multiply the squared distances and, for the first, the squared norms.
    """
    everywhere = np.arange(len(points))
    weights = np.ones(len(points)) if weights is None else weights
    chosen = [int(np.argmax(points.squared_norms.double().numpy() * weights))]
    known = weights * points.squared_distances(everywhere, chosen)
    while len(chosen) < num:
        bounds = np.cumsum(known)
        if not bounds[-1] > 0:
            left = np.setdiff1d(everywhere, chosen)
            return np.array([*chosen, *generator.permutation(left)[: num - len(chosen)]])
        waiting: list[int] = []
        num_refused = 0
        while len(chosen) < num and len(waiting) < CENTRES and num_refused <= len(waiting):
            place = int(np.searchsorted(bounds[:-1], generator.random() * bounds[-1], side="right"))
            actual = known[place]
            if waiting:
                actual = weights[place] * points.squared_distances(np.array([place]), waiting)[0]
            if generator.random() * known[place] < actual:
                waiting.append(place)
                chosen.append(place)
            else:
                num_refused += 1
        known = np.minimum(known, weights * points.squared_distances(everywhere, waiting))
    return np.array(chosen)


def k_center(points: Points, centres: Sequence[int], num: int) -> NDArray[np.int64]:
    """Places (num,), each the farthest from the centres and from those before it; of equal ones the lower.

    Args:
        points: all of them.
        centres: at least one.
        num: how many.
    """
    everywhere = np.arange(len(points))
    nearest = np.full(len(points), np.inf)
    for first in range(0, len(centres), CENTRES):
        part = centres[first : first + CENTRES]
        nearest = np.minimum(nearest, points.squared_distances(everywhere, part))
    nearest[centres] = -1  # below every distance, so that none is chosen twice
    chosen: list[int] = []
    num_known = np.zeros(len(points), dtype=np.int64)
    while len(chosen) < num:
        farthest = int(np.argmax(nearest))
        if num_known[farthest] == len(chosen):
            chosen.append(farthest)
            nearest[farthest] = -1
            continue
        rows = (
            np.flatnonzero(nearest >= np.partition(nearest, -CENTRES)[-CENTRES])
            if len(points) > CENTRES
            else everywhere
        )
        rows = rows[num_known[rows] < len(chosen)]
        found = points.squared_distances(rows, chosen[int(num_known[rows].min()) :])
        nearest[rows] = np.minimum(nearest[rows], found)
        num_known[rows] = len(chosen)
    return np.array(chosen)
