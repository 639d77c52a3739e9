"""How far two rankings of the same samples agree."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bss.evaluation.comparing.statistics import PairedDifference

NUM_RESAMPLES = 1_000


def rank_correlation(first: ArrayLike, second: ArrayLike) -> float:
    """Spearman's correlation of two (N,) scores, in [-1, 1]; nan where one of them is the same for all samples.

    Raises:
        ValueError: unequal lengths, fewer than two samples, or a value that is not finite.
    """
    from scipy.stats import spearmanr

    first, second = _checked(first, second)
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return float("nan")
    return float(spearmanr(first, second).statistic)


def rank_correlation_interval(first: ArrayLike, second: ArrayLike, confidence: float) -> PairedDifference:
    """Spearman's correlation with the percentile interval of the bootstrap over samples; it repeats.

    `confidence` lies in (0, 1). Errors as for `rank_correlation`.
    """
    first, second = _checked(first, second)
    generator = np.random.default_rng(0)
    rows = generator.integers(len(first), size=(NUM_RESAMPLES, len(first)))
    resampled = [rank_correlation(first[of_one], second[of_one]) for of_one in rows]
    tail = (1 - confidence) / 2
    low, high = np.nanquantile(resampled, [tail, 1 - tail])
    return PairedDifference(rank_correlation(first, second), float(low), float(high), len(first))


def top_overlap(first: ArrayLike, second: ArrayLike, share: float = 0.1) -> float:
    """Share in [0, 1] of the best samples by `first` that are among the best by `second`.

    Two rankings that know nothing of each other overlap by `share`. Of equal scores the earlier sample comes first.

    Args:
        first: (N,) scores, larger is better.
        second: (N,) scores.
        share: of the samples that count as the best, in (0, 1]; at least one sample.

    Raises:
        ValueError: as for `rank_correlation`, or a share out of range.
    """
    first, second = _checked(first, second)
    if not 0 < share <= 1:
        raise ValueError(f"share is {share}, and should lie in (0, 1], for example 0.1")
    number = max(1, round(share * len(first)))
    best = [set(np.argsort(-scores, kind="stable")[:number].tolist()) for scores in (first, second)]
    return len(best[0] & best[1]) / number


def _checked(first: ArrayLike, second: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    first, second = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    if first.shape != second.shape or first.ndim != 1 or len(first) < 2:
        raise ValueError(f"scores have the shapes {first.shape} and {second.shape}, and should both be (N,), N > 1")
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        raise ValueError("scores are not finite")
    return first, second
