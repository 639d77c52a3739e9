import math
from itertools import product

import numpy as np
import pytest
from scipy.stats import chi2, norm, t

from bss.evaluation.comparing.statistics import (
    critical_distance,
    holm,
    least_p,
    mean_ranks,
    paired_difference,
    pairs_to_tell,
    sd_of_differences,
    sign_flip_p,
    summary,
)


def slow_mean_and_sd(values: list[float]) -> tuple[float, float]:
    mean = sum(values) / len(values)
    return mean, math.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1))


@pytest.mark.parametrize(("num_rows", "q"), [(2, 1.960), (3, 2.343), (5, 2.728), (10, 3.164)])
def test_the_critical_distance_is_that_of_the_table(num_rows: int, q: float) -> None:
    # Demsar (2006), table 5 a, alpha 0.05
    expected = q * (num_rows * (num_rows + 1) / (6 * 14)) ** 0.5
    assert critical_distance(num_rows, 14, 0.95) == pytest.approx(expected, abs=2e-3)
    assert critical_distance(num_rows, 14, 0.99) > critical_distance(num_rows, 14, 0.95)


def test_ranks_are_means_over_blocks_and_ties_share() -> None:
    assert mean_ranks([[0.9, 0.8, 0.7], [0.5, 0.6, 0.5]]).tolist() == [1.75, 1.5, 2.75]
    for wrong in (np.empty(0), np.empty((1, 0)), np.array([0.5, 0.6])):
        with pytest.raises(ValueError, match=r"should be \(num_blocks, num_rows\)"):
            mean_ranks(wrong)
    with pytest.raises(ValueError, match="two rows and a block"):
        critical_distance(1, 5, 0.95)


def test_summary_equals_the_slow_reference() -> None:
    values = np.random.default_rng(0).normal(size=7).tolist()
    assert summary(values) == pytest.approx(slow_mean_and_sd(values))


def test_one_value_has_no_spread() -> None:
    mean, sd = summary([0.7])
    assert mean == 0.7
    assert math.isnan(sd)


def test_interval_equals_the_textbook_formula() -> None:
    # 4.302653 is the 97.5 % quantile of Student's t with 2 degrees of freedom, from a printed table.
    found = paired_difference([0.9, 0.8, 0.85], [0.7, 0.75, 0.72], 0.95)
    mean, sd = slow_mean_and_sd([0.2, 0.05, 0.13])
    margin = 4.302653 * sd / math.sqrt(3)
    assert (found.mean, found.low, found.high) == pytest.approx((mean, mean - margin, mean + margin), rel=1e-6)
    assert found.num_pairs == 3


def test_interval_covers_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    draws = rng.normal(1.0, 2.0, size=(2000, 4))
    found = [paired_difference(draw, np.zeros(4), confidence=0.8) for draw in draws]
    assert np.mean([d.low <= 1.0 <= d.high for d in found]) == pytest.approx(0.8, abs=0.03)


def test_folds_widen_the_interval_by_what_their_training_sets_share() -> None:
    """Nadeau and Bengio's t: the variance of the mean is s^2 (1/k + n_test / n_train); here 5 folds, so 1/4."""
    values = np.array([0.02, 0.05, -0.01, 0.03, 0.04])
    plain, of_folds = (paired_difference(values, np.zeros(5), 0.95, overlap) for overlap in (0.0, 1 / 4))
    sd = math.sqrt(sum((value - 0.026) ** 2 for value in values) / 4)
    assert of_folds.high - 0.026 == pytest.approx(2.776445 * sd * math.sqrt(1 / 5 + 1 / 4), rel=1e-5)
    assert plain.high - 0.026 == pytest.approx(2.776445 * sd / math.sqrt(5), rel=1e-5)


def test_pairs_matter() -> None:
    hard_and_easy = np.array([0.5, 0.7, 0.9])
    found = paired_difference(hard_and_easy + np.array([0.010, 0.011, 0.009]), hard_and_easy, 0.95)
    assert found.low > 0
    assert paired_difference((hard_and_easy + 0.01)[::-1], hard_and_easy, 0.95).low < 0


def test_one_pair_has_no_interval() -> None:
    found = paired_difference([0.9], [0.8], 0.95)
    assert found.mean == pytest.approx(0.1)
    assert math.isnan(found.low)
    assert math.isnan(found.high)


@pytest.mark.parametrize(
    ("values", "baseline", "confidence", "words"),
    [
        ([0.1, 0.2], [0.1], 0.95, "2 values against 1"),
        ([], [], 0.95, r"shape \(0,\)"),
        ([0.1, math.nan], [0.1, 0.2], 0.95, "value 1 is not finite"),
        ([0.1], [0.1], 95, "confidence is 95"),
    ],
)
def test_bad_input_is_named(values: list[float], baseline: list[float], confidence: float, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        paired_difference(values, baseline, confidence)


@pytest.mark.parametrize(
    ("values", "baseline"),
    [([0.6], [0.5]), ([0.86, 0.87, 0.85], [0.8, 0.81, 0.79]), ([0.5, 0.7], [0.5, 0.7]), ([101, 201], [100, 200])],
)
def test_pairs_that_differ_by_the_same_have_no_interval(values: list[float], baseline: list[float]) -> None:
    found = paired_difference(values, baseline, 0.95)
    assert found.mean == pytest.approx(values[0] - baseline[0])
    assert math.isnan(found.low) and math.isnan(found.high)


@pytest.mark.parametrize("num_pairs", [1, 2, 3, 5, 9])
def test_no_p_is_smaller_than_the_least(num_pairs: int) -> None:
    values = np.arange(1, num_pairs + 1)
    assert sign_flip_p(values, np.zeros(num_pairs)) == pytest.approx(least_p(num_pairs))


@pytest.mark.parametrize("scale", [1, 3, 7, 0.1, 1e-12, 1e9])
def test_equal_means_are_equal_whatever_the_order_of_their_sums(scale: float) -> None:
    values, baseline = [0, 3, 3, 0, 0], [1, 1, 0, 2, 2]
    assert sum(values) - sum(baseline) == 1 - 1
    assert sign_flip_p([value / scale for value in values], [value / scale for value in baseline]) == 1
    assert sign_flip_p([0.1 * scale] * 4, [0.1 * scale] * 4) == 1


def test_the_sign_flips_are_counted_exactly() -> None:
    rng = np.random.default_rng(4)
    values, baseline = rng.normal(0.2, 1, 8), np.zeros(8)
    flipped = [abs(np.mean(values * signs)) for signs in product([1, -1], repeat=8)]
    expected = np.mean(np.array(flipped) >= abs(values.mean()) - 1e-12)
    assert sign_flip_p(values, baseline) == pytest.approx(expected)
    assert sign_flip_p([3.0, 2.0, 1.0, 2.0, 3.0], np.zeros(5)) == pytest.approx(2 / 2**5)
    assert sign_flip_p([1.0], [0.0]) == 1


def test_holm_equals_the_step_down_procedure() -> None:
    given = [0.01, 0.04, 0.03, 0.005]
    # Sorted: 0.005 * 4, 0.01 * 3, 0.03 * 2, 0.04 * 1, none below the one before.
    assert holm(given) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]).tolist() == [1, 1]
    assert holm([]).tolist() == []
    with pytest.raises(ValueError, match=r"lie in \[0, 1\]"):
        holm([1.5])


@pytest.mark.parametrize(
    ("difference", "sd", "number"), [(1.0, 1.0, 10), (0.5, 1.0, 34), (-0.5, 1.0, 34), (0.2, 1.0, 199)]
)
def test_the_number_of_pairs_is_that_of_the_tables_of_power(difference: float, sd: float, number: int) -> None:
    """Cohen's tables (1988) for the paired t test: d of 1, 0.5 and 0.2, two-sided 5 %, power 0.8."""
    assert pairs_to_tell(difference, sd, 0.95, 0.8) == number


@pytest.mark.parametrize("effect", [0.2, 0.7, 1.6, 3.25])
def test_one_pair_less_has_too_little_power(effect: float) -> None:
    """The power by what it means: over all spreads that pairs may show, how often their mean lies above the limit."""

    def power(number: int) -> float:
        limit = t.ppf(0.975, number - 1)
        shown = np.sqrt(chi2.ppf((np.arange(20_000) + 0.5) / 20_000, number - 1) / (number - 1))
        return float(norm.sf(limit * shown - effect * math.sqrt(number)).mean())

    number = pairs_to_tell(effect, 1.0, 0.95, 0.8)
    assert power(number) >= 0.8 > power(number - 1)


def test_so_many_pairs_find_the_difference_as_often_as_asked() -> None:
    number, generator = pairs_to_tell(0.8, 1.0, 0.95, 0.8), np.random.default_rng(0)
    found = [paired_difference(generator.normal(0.8, 1, number), np.zeros(number), 0.95).low > 0 for _ in range(2000)]
    assert np.mean(found) == pytest.approx(0.82, abs=0.03)
    assert pairs_to_tell(0.8, 0.0, 0.95, 0.8) == 2
    with pytest.raises(ValueError, match="no number of pairs tells it from 0"):
        pairs_to_tell(0.0, 1.0, 0.95, 0.8)


def test_an_interval_gives_back_the_spread_that_it_was_made_of() -> None:
    values = [0.3, 0.1, -0.2, 0.4]
    found = paired_difference(values, [0.0] * 4, 0.9)
    assert sd_of_differences(found, 0.9) == pytest.approx(summary(values)[1])
    assert math.isnan(sd_of_differences(paired_difference([1.0], [0.0], 0.9), 0.9))
