"""Rules for a multimodal prediction that is not the fusion's own: made of the modalities' probabilities."""

from collections.abc import Iterable, Iterator, Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bss.errors import InputError

TINY = np.finfo(float).tiny
STEPS = 10
"""Weights are multiples of a tenth."""
MAX_CANDIDATES = 5_000
"""With so many modalities that there would be more, the steps are larger."""


def summed(probabilities: Iterable[ArrayLike]) -> NDArray[np.float64]:
    """The softmax (N, C) of the sum of the logits behind several predictions (N, C), as released code adds them."""
    from scipy.special import softmax

    logs = [np.log(np.maximum(np.asarray(values, dtype=float), TINY)) for values in probabilities]
    return np.asarray(softmax(np.sum(logs, axis=0), axis=1))


def weighted_mean(probabilities: Mapping[str, ArrayLike], weights: Mapping[str, float]) -> NDArray[np.float64]:
    """The mean (N, C) of the modalities' probabilities (N, C) by weights that sum to 1."""
    stacked = np.stack([np.asarray(probabilities[name], dtype=float) for name in weights])
    return np.asarray(np.einsum("m,mnc->nc", list(weights.values()), stacked), dtype=float)


def best_weights(probabilities: Mapping[str, ArrayLike], labels: ArrayLike) -> dict[str, float]:
    """The weights whose mean is right most often; of several the nearest to equal ones, then the first of the grid.

    Candidates are equal weights and all multiples of `1 / STEPS` that sum to 1.

    Args:
        probabilities: modality -> (N, C), of the validation split.
        labels: (N,), in [0, C).

    Raises:
        InputError: no sample.
    """
    labels, names = np.asarray(labels), list(probabilities)
    if not len(labels):
        raise InputError("evaluate.rule: weighted needs validation samples, and there are none")
    stacked = np.stack([np.asarray(probabilities[name], dtype=float) for name in names])
    equal = np.full(len(names), 1 / len(names))
    best, chosen = (-1, 0.0), equal
    for weights in (equal, *_grid(len(names))):
        num_right = int((np.einsum("m,mnc->nc", weights, stacked).argmax(axis=1) == labels).sum())
        rank = (num_right, -round(float(np.square(weights - equal).sum()), 9))
        if rank > best:
            best, chosen = rank, weights
    return dict(zip(names, chosen.tolist(), strict=True))


def _grid(number: int) -> list[NDArray[np.float64]]:
    """Weights (number,) on a grid of the simplex, as fine as MAX_CANDIDATES allows."""
    for steps in range(STEPS, 0, -1):
        candidates = []
        for parts in _parts(steps, number):
            candidates.append(np.array(parts) / steps)
            if len(candidates) > MAX_CANDIDATES:
                break
        else:
            return candidates
    return []


def _parts(total: int, number: int) -> Iterator[tuple[int, ...]]:
    """Every way to share `total` among `number`, in order."""
    if number == 1:
        yield (total,)
        return
    for first in range(total + 1):
        for rest in _parts(total - first, number - 1):
            yield first, *rest
