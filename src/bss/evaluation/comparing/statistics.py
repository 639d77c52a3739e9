"""Statistics of a handful of seeds: means, standard deviations, paired differences with their intervals, ranks."""

from bisect import bisect_left
from dataclasses import dataclass
from math import nan, sqrt

import numpy as np
from numpy.typing import ArrayLike, NDArray

DIGITS = 12
NUM_RESAMPLES = 10_000


@dataclass(frozen=True)
class PairedDifference:
    """A mean of paired differences, in the unit of the values, with its confidence interval."""

    mean: float
    low: float
    """The lower end of the interval; nan where there is none: of one pair, or of pairs that differ by the same."""
    high: float
    """The upper end of the interval, or nan."""
    num_pairs: int


def paired_difference(
    values: ArrayLike, baseline: ArrayLike, confidence: float, overlap: float = 0.0
) -> PairedDifference:
    """Mean of `values - baseline` over pairs (the same seed), with Student's t interval.

    One pair has none, and neither have pairs that all differ by the same, as accuracies on few samples often do: an
    interval without width would claim certainty.

    Args:
        values: (n,), any unit; the difference has the same.
        baseline: (n,), in the same order of seeds.
        confidence: probability in (0, 1) that such an interval covers the true mean.
        overlap: where the pairs are of folds, whose training sets share samples, the number of test samples over that
            of the others: it widens the interval by sqrt(1 + n overlap) (Nadeau and Bengio, 2003).

    Raises:
        ValueError: no pairs, unequal lengths, a value that is not finite, or a confidence out of range.
    """
    differences = _differences(values, baseline)
    _check_confidence(confidence)
    mean, sd = summary(differences)
    alike = np.ptp(differences) <= 10**-DIGITS * np.abs(differences).max()
    margin = nan if alike else _quantile(confidence, len(differences)) * sd * sqrt(1 / len(differences) + overlap)
    return PairedDifference(mean, mean - margin, mean + margin, len(differences))


def pairs_to_tell(difference: float, sd: float, confidence: float, power: float) -> int:
    """The least number of pairs with which the paired t test finds a true mean difference with so much power.

    By the noncentral t distribution; at least 2.

    Args:
        difference: the true mean, not 0, in any unit.
        sd: standard deviation of the differences, in the same unit, at least 0.
        confidence: 1 - alpha of the two-sided test, in (0, 1).
        power: probability in (0, 1) that the test then rejects a mean of 0.

    Raises:
        ValueError: a difference of 0, or a probability out of range.
    """
    from scipy.stats import nct

    _check_confidence(confidence)
    _check_confidence(power)
    if difference == 0:
        raise ValueError("difference is 0: no number of pairs tells it from 0")
    if sd == 0:
        return 2

    def is_enough(num_pairs: int) -> bool:
        noncentrality = abs(difference) / sd * sqrt(num_pairs)
        return bool(nct.sf(_quantile(confidence, num_pairs), num_pairs - 1, noncentrality) >= power)

    most = 2
    while not is_enough(most):
        most *= 2
    return bisect_left(range(most), True, lo=max(2, most // 2), key=is_enough)


def sd_of_differences(found: PairedDifference, confidence: float) -> float:
    """The standard deviation of the pairs' differences that a t interval without overlap was made of; nan of none."""
    if found.num_pairs < 2:
        return nan
    return (found.high - found.mean) / _quantile(confidence, found.num_pairs) * sqrt(found.num_pairs)


def sign_flip_p(values: ArrayLike, baseline: ArrayLike) -> float:
    """Two-sided p value of the paired permutation test: how often flipped signs give as large a mean difference.

    Exact for up to 13 pairs, else of 10,000 random flips. Never below `least_p`. 1 for a single pair. Errors as for
    `paired_difference`.
    """
    from scipy.stats import permutation_test

    differences = _differences(values, baseline)
    if len(differences) < 2:
        return 1.0
    scale = np.abs(differences).max() or 1.0

    def mean(values: NDArray[np.float64], axis: int = -1) -> NDArray[np.float64]:
        """Rounded, so that equal means are equal whatever the order of their sums."""
        return np.asarray(np.round(np.mean(values, axis=axis) / scale, DIGITS))

    flipped = permutation_test(
        (differences,),
        mean,
        permutation_type="samples",
        n_resamples=NUM_RESAMPLES,
        rng=np.random.default_rng(0),
    )
    return float(flipped.pvalue)


def least_p(num_pairs: int) -> float:
    """The smallest p value in (0, 1] that `sign_flip_p` can give for so many pairs: 2 / 2^n, of five pairs 0.06."""
    return min(1.0, 2.0 ** (1 - num_pairs))


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    """P values (n,) corrected for making n comparisons, in the same order. Source: Holm (1979).

    Raises:
        ValueError: a value outside [0, 1].
    """
    p_values = np.asarray(p_values, dtype=float)
    if not ((p_values >= 0) & (p_values <= 1)).all():
        raise ValueError(f"p values lie in [0, 1], got {p_values.tolist()}")
    order = np.argsort(p_values, kind="stable")
    corrected = np.empty_like(p_values)
    corrected[order] = np.maximum.accumulate(p_values[order] * np.arange(len(p_values), 0, -1)).clip(max=1)
    return corrected


def mean_ranks(values: ArrayLike) -> NDArray[np.float64]:
    """The mean rank of each row, 1 the best; equal values share their ranks' mean.

    Args:
        values: (num_blocks, num_rows), larger is better; a block is a data set or a seed.

    Raises:
        ValueError: not two axes, or nothing in one.
    """
    from scipy.stats import rankdata

    values = np.asarray(values, dtype=float)
    if values.ndim != 2 or not values.size:
        raise ValueError(f"values have shape {values.shape}, and should be (num_blocks, num_rows)")
    return np.asarray(rankdata(-values, axis=1).mean(axis=0))


def critical_distance(num_rows: int, num_blocks: int, confidence: float) -> float:
    """How far two mean ranks must lie apart to be told apart, all pairs being compared (Nemenyi).

    q sqrt(k (k + 1) / (6 n)) with the studentised range's quantile over sqrt 2. Source: Demsar (JMLR 2006).

    Raises:
        ValueError: fewer than two rows, no block, or a confidence out of range.
    """
    from scipy.stats import studentized_range

    if num_rows < 2 or num_blocks < 1:
        raise ValueError(f"{num_rows} rows in {num_blocks} blocks: two rows and a block are needed at least")
    _check_confidence(confidence)
    quantile = float(studentized_range.ppf(confidence, num_rows, np.inf)) / sqrt(2)
    return quantile * sqrt(num_rows * (num_rows + 1) / (6 * num_blocks))


def summary(values: ArrayLike) -> tuple[float, float]:
    """Mean and sample standard deviation (n - 1 in the denominator; nan for one value) of (n,) values.

    Raises:
        ValueError: no values, or one that is not finite.
    """
    values = _checked(values)
    return float(values.mean()), float(values.std(ddof=1)) if len(values) > 1 else nan


def _differences(values: ArrayLike, baseline: ArrayLike) -> NDArray[np.float64]:
    values, baseline = _checked(values), _checked(baseline)
    if len(values) != len(baseline):
        raise ValueError(f"{len(values)} values against {len(baseline)} of the baseline: pairs share a seed")
    return values - baseline


def _check_confidence(confidence: float) -> None:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is {confidence}, and should lie between 0 and 1, for example 0.95")


def _quantile(confidence: float, num_pairs: int) -> float:
    from scipy.stats import t

    return float(t.ppf((1 + confidence) / 2, num_pairs - 1))


def _checked(values: ArrayLike) -> NDArray[np.float64]:
    values = np.asarray(values, dtype=float)
    if values.ndim != 1 or not len(values):
        raise ValueError(f"values have shape {values.shape}, and should be (n,) with one value a seed")
    if not np.isfinite(values).all():
        raise ValueError(f"value {np.flatnonzero(~np.isfinite(values))[0]} is not finite: {values.tolist()}")
    return values
