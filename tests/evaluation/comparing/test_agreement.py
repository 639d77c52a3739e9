"""Two rankings of the same samples."""

import math

import numpy as np
import pytest

from bss.evaluation.comparing.agreement import rank_correlation, rank_correlation_interval, top_overlap


def slow_rank_correlation(first: list[float], second: list[float]) -> float:
    def ranks(values: list[float]) -> list[float]:
        return [
            sum(other < value for other in values) + 0.5 * sum(other == value for other in values) for value in values
        ]

    return float(np.corrcoef(ranks(first), ranks(second))[0, 1])


def test_the_correlation_equals_that_of_the_ranks() -> None:
    rng = np.random.default_rng(0)
    first = rng.integers(0, 9, 40).astype(float)  # ties
    second = first + rng.normal(0, 3, 40)
    expected = slow_rank_correlation(first.tolist(), second.tolist())
    assert rank_correlation(first, second) == pytest.approx(expected)
    assert rank_correlation(first, np.exp(first)) == pytest.approx(1)
    assert math.isnan(rank_correlation(first, np.ones(40)))


def test_the_interval_holds_the_correlation_and_shrinks_with_the_samples() -> None:
    rng = np.random.default_rng(0)
    first = rng.normal(size=400)
    second = first + rng.normal(size=400)
    all_of_them, few = (rank_correlation_interval(first[:num], second[:num], 0.95) for num in (len(first), 40))
    for found in (all_of_them, few):
        assert found.low < found.mean < found.high
    assert all_of_them.high - all_of_them.low < 0.6 * (few.high - few.low)
    assert all_of_them == rank_correlation_interval(first, second, 0.95), "it repeats"


def test_the_overlap_counts_the_best_of_both() -> None:
    first = np.arange(20.0)
    assert top_overlap(first, first) == 1
    assert top_overlap(first, -first) == 0
    assert top_overlap(first, first, share=1) == 1
    swapped = first.copy()
    swapped[[0, 19]] = swapped[[19, 0]]
    assert top_overlap(first, swapped) == 0.5
    rng = np.random.default_rng(0)
    by_chance = [top_overlap(rng.normal(size=500), rng.normal(size=500)) for _ in range(200)]
    assert np.mean(by_chance) == pytest.approx(0.1, abs=0.01)


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ([1.0, 2.0], [1.0], r"shapes \(2,\) and \(1,\)"),
        ([1.0], [1.0], "N > 1"),
        ([1.0, math.nan], [1.0, 2.0], "not finite"),
    ],
)
def test_what_cannot_be_compared_is_refused(first: list[float], second: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        rank_correlation(first, second)
    with pytest.raises(ValueError, match=message):
        top_overlap(first, second)


def test_a_share_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match="share is 0"):
        top_overlap([1.0, 2.0], [1.0, 2.0], 0)
