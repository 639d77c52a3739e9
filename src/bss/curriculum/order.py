"""From scores to ranks and probabilities. The only argsort of the project stands here."""

import numpy as np


def ranking(scores: np.ndarray, *, anti: bool = False) -> np.ndarray:
    """Sample indices (N,), int64, from the most to the least balanced; reversed where `anti`.

    Equal scores keep the order of their indices, so the ranking is a function of the scores alone.
    """
    return np.argsort(scores if anti else -scores, kind="stable")


def softmax(scores: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Sampling probabilities (N,), float64, proportional to exp(score / temperature); they sum to 1."""
    exponents = scores / temperature
    weights = np.exp(exponents - exponents.max())
    return np.asarray(weights / weights.sum())
