"""From scores to an order, probabilities and draws, for up to 10^8 samples; nothing else sorts scores."""

import numpy as np


def ordered(scores: np.ndarray, *, anti: bool = False) -> np.ndarray:
    """Sample indices (N,), int64, from the most to the least balanced; reversed where `anti`.

    Equal scores keep the order of their indices, so the result is a function of the scores alone.
    """
    return np.argsort(scores if anti else -scores, kind="stable")


def softmax(scores: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Sampling probabilities (N,), float64, proportional to exp(score / temperature); they sum to 1."""
    weights = scores / temperature
    weights -= weights.max()
    np.exp(weights, out=weights)
    weights /= weights.sum()
    return weights


def multinomial(probabilities: np.ndarray, num_draws: int, generator: np.random.Generator) -> np.ndarray:
    """Independent draws with replacement, (num_draws,), int64, in random order.

    Sorted uniforms come as the running sum of exponential spacings, so that the cumulative probabilities are
    walked through once instead of being searched at random.
    """
    positions = np.cumsum(generator.standard_exponential(num_draws + 1))
    positions /= positions[-1]
    return _drawn(probabilities, positions[:-1], generator)


def systematic(probabilities: np.ndarray, num_draws: int, generator: np.random.Generator) -> np.ndarray:
    """Evenly spaced draws with replacement, (num_draws,), int64, in random order.

    A sample of probability p is drawn floor or ceil of p num_draws times, and p num_draws times in expectation.
    """
    positions = np.arange(num_draws, dtype=np.float64)
    positions += generator.random()
    positions /= num_draws
    return _drawn(probabilities, positions, generator)


def weighted_permutation(weights: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """All indices (N,), int64, as if drawn one by one without replacement by the weights left.

    Exponential variables divided by the weights finish in that order (Efraimidis and Spirakis, 2006).
    """
    keys = generator.standard_exponential(len(weights))
    keys /= weights
    return np.argsort(keys, kind="stable")


def _drawn(probabilities: np.ndarray, positions: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """The samples in whose share of [0, 1) the ascending positions fall, shuffled."""
    bounds = np.cumsum(probabilities)
    if not bounds[-1] > 0:
        raise ValueError(f"the weights of {len(bounds)} samples sum to {bounds[-1]}, expected more than 0")
    bounds /= bounds[-1]
    indices = np.searchsorted(bounds[:-1], positions, side="right").astype(np.int64, copy=False)
    generator.shuffle(indices)
    return indices
