"""What a handful of seeds can say: means, spreads and paired differences with their intervals."""

from dataclasses import dataclass
from math import nan, sqrt

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class Difference:
    """A mean paired difference and its confidence interval, nan where one pair shows no spread."""

    mean: float
    low: float
    high: float
    num_pairs: int

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval says which side is better; never so without an interval."""
        return self.low > 0 or self.high < 0


def paired_difference(values: ArrayLike, baseline: ArrayLike, confidence: float = 0.95) -> Difference:
    """Mean of `values - baseline` over pairs (the same seed), with Student's t interval.

    Args:
        values: (n,), any unit; the difference has the same.
        baseline: (n,), in the same order of seeds.
        confidence: probability in (0, 1) that such an interval covers the true mean.

    Raises:
        ValueError: no pairs, unequal lengths, a value that is not finite, or a confidence out of range.
    """
    values, baseline = _checked(values), _checked(baseline)
    if len(values) != len(baseline):
        raise ValueError(f"{len(values)} values against {len(baseline)} of the baseline: pairs share a seed")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is {confidence}, and should lie between 0 and 1, for example 0.95")
    mean, sd = summary(values - baseline)
    margin = _quantile(confidence, len(values)) * sd / sqrt(len(values))
    return Difference(mean, mean - margin, mean + margin, len(values))


def summary(values: ArrayLike) -> tuple[float, float]:
    """Mean and sample standard deviation (n - 1 in the denominator; nan for one value) of (n,) values.

    Raises:
        ValueError: no values, or one that is not finite.
    """
    values = _checked(values)
    return float(values.mean()), float(values.std(ddof=1)) if len(values) > 1 else nan


def _quantile(confidence: float, num_pairs: int) -> float:
    from scipy.stats import t

    return float(t.ppf((1 + confidence) / 2, num_pairs - 1)) if num_pairs > 1 else nan


def _checked(values: ArrayLike) -> NDArray[np.float64]:
    values = np.asarray(values, dtype=float)
    if values.ndim != 1 or not len(values):
        raise ValueError(f"values have shape {values.shape}, and should be (n,) with one value a seed")
    if not np.isfinite(values).all():
        raise ValueError(f"value {np.flatnonzero(~np.isfinite(values))[0]} is not finite: {values.tolist()}")
    return values
