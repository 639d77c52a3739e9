"""Pacing, order, schedulers, sampler and plan."""

from collections import Counter
from itertools import pairwise, permutations
from math import exp, floor, log, sqrt
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from bss.curriculum.order import multinomial, ordered, softmax, systematic, weighted_permutation, within_class
from bss.curriculum.pacing.pacing import PACINGS
from bss.curriculum.plan import order_table, read_plan, recorded_indices, sequence_table, write_plan
from bss.curriculum.sampler import CurriculumSampler
from bss.curriculum.schedulers.heuristic import Heuristic
from bss.curriculum.schedulers.learned import Learned
from bss.curriculum.schedulers.random import Random
from bss.curriculum.schedulers.scheduler import SCHEDULERS, epoch_indices
from bss.curriculum.schedulers.self_paced import SelfPaced
from bss.seeds import generator

SCORES = np.random.default_rng(0).uniform(-1, 1, 200)


@pytest.mark.parametrize("start", [0.01, 0.1, 0.5, 1.0])
@pytest.mark.parametrize("name", PACINGS)
def test_a_pacing_rises_from_start_to_all(name: str, start: float) -> None:
    if name == "constant" and start < 1:
        with pytest.raises(ValueError, match="greater than or equal to 1"):
            PACINGS.example(name, start=start)
        return
    pacing = PACINGS.example(name, start=start)
    values = [pacing(step / 100) for step in range(101)]
    assert values[0] == pytest.approx(start)
    assert values[-1] == 1.0
    assert all(0 < low <= high <= 1 for low, high in pairwise(values))


def test_root_pacing_is_the_published_formula() -> None:
    root, start, grow = PACINGS.build("root"), 0.1, 40
    for epoch in range(41):
        assert root(epoch / grow) == pytest.approx(min(1, sqrt((1 - start**2) / grow * epoch + start**2)))


@pytest.mark.parametrize("progress", [0, 0.1, 0.25, 0.4, 0.5, 0.99, 1])
def test_the_other_pacings_are_their_formulas(progress: float) -> None:
    rest = 0.8
    expected = {
        "linear": 0.2 + rest * progress,
        "geometric": exp(log(0.2) + progress * (log(1) - log(0.2))),
        "exponential": 0.2 + rest * (exp(10 * progress) - 1) / (exp(10) - 1),
        "step": 1.0 if progress == 1 else 0.2,
        "baby_step": 0.2 + rest * floor(progress * 5) / 5,
    }
    for name, fraction in expected.items():
        assert PACINGS.build({"name": name, "start": 0.2})(progress) == pytest.approx(fraction), name


def test_the_ranking_is_the_slow_one_and_stable() -> None:
    scores = np.array([0.5, 1.0, -1.0, 1.0, 0.5])
    assert ordered(scores).tolist() == sorted(range(5), key=lambda index: (-scores[index], index)) == [1, 3, 0, 4, 2]
    assert ordered(scores, anti=True).tolist() == [2, 0, 4, 1, 3]


def test_scores_within_a_class_are_the_quantiles_of_all() -> None:
    scores = np.array([0.9, 0.1, 0.5, -1.0, 0.2, 0.1, 0.3, 0.7])
    labels = np.array([4, 4, 4, 0, 4, 4, 0, 7])
    every, found = sorted(scores), within_class(scores, labels)
    for score, label, quantile in zip(scores, labels, found, strict=True):
        of_class = scores[labels == label]
        rank = sum(other < score for other in of_class) + sum(other == score for other in of_class) / 2
        place = rank / len(of_class) * len(scores) - 0.5  # among all, from 0
        low, high = every[max(0, floor(place))], every[min(len(scores) - 1, floor(place) + 1)]
        assert quantile == pytest.approx(low + (place - floor(place)) * (high - low))
    assert found[7] == pytest.approx(np.median(scores)), "alone in its class"
    assert within_class(scores, np.zeros(8, int)) == pytest.approx(np.where(scores == 0.1, (0.1 + 0.1) / 2, scores))


@pytest.mark.parametrize("name", SCHEDULERS)
def test_by_class_every_class_keeps_its_share_of_the_draws(name: str) -> None:
    """Scores that differ by class alone as much as they differ within one."""
    labels = np.repeat([0, 1], [1200, 400])
    scores = np.random.default_rng(0).uniform(-1, 0, 1600) + labels
    scheduler = SCHEDULERS.example(name, by_class=True)
    drawn = labels[epoch_indices(scheduler, scores, 0, 3, labels)]
    assert drawn.mean() == pytest.approx(0.25, abs=0.04)
    assert labels[epoch_indices(Learned(), scores, 0, 3)].mean() > 0.4, "by the scores themselves they do not"


@pytest.mark.parametrize("temperature", [0.1, 1.0, 5.0])
def test_softmax_is_the_slow_one(temperature: float) -> None:
    exponents = [exp(score / temperature) for score in SCORES]
    assert np.allclose(softmax(SCORES, temperature), [value / sum(exponents) for value in exponents])
    assert softmax(1e4 * SCORES).sum() == pytest.approx(1)


@pytest.mark.parametrize("anti", [False, True])
@pytest.mark.parametrize("name", SCHEDULERS)
def test_a_scheduler_is_a_pure_function_of_scores_and_epoch(name: str, anti: bool) -> None:
    scheduler = SCHEDULERS.example(name, anti=anti)
    before = SCORES.copy()
    first = {epoch: epoch_indices(scheduler, SCORES, 7, epoch) for epoch in (3, 0, 41)}
    for epoch in (0, 41, 3):
        again = epoch_indices(scheduler, SCORES, 7, epoch)
        assert np.array_equal(first[epoch], again)
        assert again.dtype == np.int64
        assert again.min() >= 0
        assert again.max() < len(SCORES)
        assert 0 < scheduler.fraction(epoch) <= 1
    assert np.array_equal(before, SCORES)
    assert not np.array_equal(first[41], epoch_indices(scheduler, SCORES, 8, 41))


def test_random_order_shows_every_sample_once() -> None:
    indices = epoch_indices(Random(), SCORES, 0, 0)
    assert sorted(indices) == list(range(200))
    assert not np.array_equal(indices, epoch_indices(Random(), SCORES, 0, 1))


@pytest.mark.parametrize("anti", [False, True])
@pytest.mark.parametrize("epoch", [0, 1, 5, 39, 40, 60])
def test_heuristic_plays_the_best_ranked(epoch: int, anti: bool) -> None:
    share = min(1, sqrt((1 - 0.01) / 40 * epoch + 0.01))
    best = sorted(range(200), key=lambda index: SCORES[index] * (1 if anti else -1))[: floor(200 * share)]
    indices = epoch_indices(Heuristic(anti=anti, min_in_play=1), SCORES, 0, epoch)
    assert sorted(indices) == sorted(best)
    full = epoch_indices(Heuristic(anti=anti, epoch_length="full", min_in_play=1), SCORES, 0, epoch)
    assert len(full) == 200
    draws = Counter(full.tolist())
    assert set(draws) == set(best)
    assert max(draws.values()) - min(draws.values()) <= 1


def test_no_sample_is_lost_to_rounding() -> None:
    for start in (0.29, 0.57, 0.58):
        pacing = {"name": "linear", "start": start}
        heuristic = SCHEDULERS.build({"name": "heuristic", "pacing": pacing, "min_in_play": 1})
        assert heuristic.num_in_play(100, 0) == round(100 * start)


def test_weights_that_are_all_zero_are_refused() -> None:
    with pytest.raises(ValueError, match=r"the weights of 3 samples sum to 0\.0, expected more than 0"):
        multinomial(np.zeros(3), 5, np.random.default_rng(0))


def test_the_last_sample_is_the_last_that_a_draw_can_meet() -> None:
    class Edge:
        def random(self) -> float:
            return 1 - 2**-53

        def shuffle(self, indices: np.ndarray) -> None:
            pass

    assert systematic(np.full(4, 0.25), 4, Edge()).tolist()[-1] == 3


@pytest.mark.nightly
def test_a_plan_for_vggsound_is_small(tmp_path: Path) -> None:
    num_samples = 168_618
    scores = np.random.default_rng(0).normal(size=num_samples)
    ids = pl.Series([f"clip_{number:06d}" for number in range(num_samples)])
    sequence = sequence_table(Heuristic(), scores, 0, 120)
    write_plan(tmp_path, order_table(Heuristic(), ids, scores), sequence)
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 60e6
    assert np.array_equal(recorded_indices(tmp_path / "sequence.parquet", 77), sequence["indices"][77].to_numpy())


@pytest.mark.parametrize("num_samples", [1, 2, 31, 60, 3000])
@pytest.mark.parametrize("anti", [False, True])
def test_no_epoch_is_smaller_than_the_least(num_samples: int, anti: bool) -> None:
    scores = np.linspace(0, 0.1, num_samples)
    scores[0 if anti else -1] = -9 if anti else 9  # one far from all others: alone within any threshold
    low = SCHEDULERS.build({"name": "heuristic", "pacing": {"name": "root", "start": 0.0001}, "anti": anti})
    best = ordered(scores, anti=anti)[: min(32, num_samples)]
    for scheduler in (low, SelfPaced(anti=anti)):
        assert sorted(epoch_indices(scheduler, scores, 0, 0)) == sorted(best)
        assert len(epoch_indices(scheduler, scores, 0, 40)) == num_samples
    assert len(epoch_indices(SelfPaced(min_in_play=1, anti=anti), scores, 0, 0)) == 1


def test_the_released_pacing_is_that_of_the_epoch_after() -> None:
    """Of 6,698 samples the released code plays 1,248 in the first epoch, the paper's formula 669."""
    published, released = Heuristic(), Heuristic(variant="released")
    assert (published.num_in_play(6698, 0), released.num_in_play(6698, 0)) == (669, 1248)
    assert [released.fraction(epoch) for epoch in range(60)] == [published.fraction(epoch + 1) for epoch in range(60)]


def test_heuristic_may_play_all_from_the_start() -> None:
    assert len(epoch_indices(Heuristic(grow_epochs=0), SCORES, 0, 0)) == 200


def test_learned_draws_by_probability() -> None:
    scores = np.array([1.0, 0.0, -1.0])
    many = np.repeat(scores, 20_000)
    draws = Counter(many[epoch_indices(Learned(), many, 0, 0)])
    weights = np.array([exp(score) for score in scores])
    expected = 60_000 * weights / weights.sum()
    assert chi_square([draws[score] for score in scores], list(expected)) < 13.8  # 2 degrees
    reverse = Counter(many[epoch_indices(Learned(anti=True), many, 0, 0)])
    assert reverse[-1.0] > 5 * reverse[1.0]


def chi_square(counts: list[int], expected: list[float]) -> float:
    return sum((count - mean) ** 2 / mean for count, mean in zip(counts, expected, strict=True))


def test_multinomial_draws_are_independent_draws() -> None:
    probabilities = np.array([0.5, 0.2, 0.2, 0.1])
    draws = multinomial(probabilities, 40_000, np.random.default_rng(1))
    assert chi_square(np.bincount(draws).tolist(), list(40_000 * probabilities)) < 16.3  # 0.1 % point, 3 degrees
    pairs = draws[::2] * 4 + draws[1::2]
    expected = list(20_000 * np.outer(probabilities, probabilities).ravel())
    assert chi_square(np.bincount(pairs, minlength=16).tolist(), expected) < 37.7  # 15 degrees
    totals = [
        np.bincount(multinomial(probabilities, 100, np.random.default_rng(seed)), minlength=4)[0]
        for seed in range(400)
    ]
    assert np.var(totals) == pytest.approx(100 * 0.5 * 0.5, rel=0.3), "the spread of independent draws"


def test_systematic_draws_have_the_expected_counts() -> None:
    probabilities = softmax(SCORES)
    counts = [np.bincount(systematic(probabilities, 1000, np.random.default_rng(seed)), minlength=200)
              for seed in range(300)]  # fmt: skip
    expected = 1000 * probabilities
    for drawn in counts:
        assert drawn.sum() == 1000
        assert ((drawn == np.floor(expected)) | (drawn == np.ceil(expected))).all()
    assert np.allclose(np.mean(counts, axis=0), expected, atol=0.15)
    assert len({systematic(probabilities, 1000, np.random.default_rng(seed))[0] for seed in range(20)}) > 10, (
        "shuffled"
    )


def test_a_weighted_permutation_draws_without_replacement() -> None:
    weights = np.array([3.0, 2.0, 1.0])
    drawn = Counter(tuple(weighted_permutation(weights, np.random.default_rng(seed))) for seed in range(12_000))
    orders = list(permutations(range(3)))
    expected = [12_000 * weights[a] / 6 * weights[b] / (6 - weights[a]) for a, b, _ in orders]
    assert chi_square([drawn[order] for order in orders], expected) < 20.5  # 5 degrees


def test_the_released_variant_is_a_weighted_permutation_of_fresh_scores() -> None:
    released = Learned(variant="released")
    fresh = SCORES[::-1]
    assert released.update(SCORES, fresh, np.ones(200)) is fresh
    assert sorted(epoch_indices(released, SCORES, 0, 3)) == list(range(200))
    weights = [1 + score + 0.01 for score in SCORES]
    assert np.allclose(released.probabilities(SCORES), [weight / sum(weights) for weight in weights])
    weights = [1 - score + 0.01 for score in SCORES]
    anti = Learned(variant="released", anti=True)
    assert np.allclose(anti.probabilities(SCORES), [weight / sum(weights) for weight in weights])
    with pytest.raises(ValueError, match=r"released weights need scores in \[-1, 1\]"):
        released.probabilities(2 * SCORES)


@pytest.mark.parametrize("anti", [False, True])
@pytest.mark.parametrize("epoch", [0, 5, 20, 40])
def test_self_paced_plays_what_lies_below_the_threshold(epoch: int, anti: bool) -> None:
    losses = SCORES if anti else -SCORES  # a score of the training loss alone
    threshold = 0.2 + 0.8 * epoch / 40
    easy = [i for i, loss in enumerate(losses) if (loss - min(losses)) / (max(losses) - min(losses)) <= threshold]
    assert sorted(epoch_indices(SelfPaced(anti=anti), SCORES, 0, epoch)) == easy
    assert len(easy) == 200 or epoch < 40


def test_learned_draws_with_replacement() -> None:
    assert len(set(epoch_indices(Learned(), SCORES, 0, 0).tolist())) < 200


def test_learned_moves_its_average_towards_fresh_scores() -> None:
    scheduler = Learned(beta=0.6, refresh_every=2)
    assert [scheduler.refreshes(epoch) for epoch in range(5)] == [False, False, True, False, True]
    assert [scheduler.wants_pass(epoch) for epoch in range(5)] == [False, False, True, False, True]
    mixed = Learned(refresh_every=2, score_update="mixed")
    assert [mixed.refreshes(epoch) for epoch in range(4)] == [False, True, True, True]
    assert [mixed.wants_pass(epoch) for epoch in range(4)] == [False, False, True, False]
    assert np.allclose(scheduler.update(np.array([1.0, 0.0]), np.array([0.0, 0.5]), np.ones(2)), [0.4, 0.3])


@pytest.mark.parametrize("name", SCHEDULERS)
def test_a_plan_replays_what_the_scheduler_would_draw(name: str, tmp_path: Path) -> None:
    scheduler = SCHEDULERS.example(name)
    order = order_table(scheduler, pl.Series([f"s{number}" for number in range(200)]), SCORES)
    sequence = sequence_table(scheduler, SCORES, 5, 12)
    write_plan(tmp_path, order, sequence)
    scores, recorded = read_plan(tmp_path)
    assert np.array_equal(scores, SCORES)
    assert (recorded is None) is (scheduler.probabilities(SCORES) is not None)
    for epoch in range(12 if recorded else 0):
        assert recorded is not None
        assert np.array_equal(recorded(epoch), epoch_indices(scheduler, SCORES, 5, epoch))
    assert order.sort("rank")["balance_score"].to_list() == sorted(SCORES, reverse=True)
    least = getattr(scheduler, "min_in_play", 1)
    played = [max(least, floor(200 * scheduler.fraction(epoch))) for epoch in range(12)]
    assert sequence["num_samples"].to_list() == played
    probability, is_fixed = order["probability"], scheduler.probabilities(SCORES) is None
    assert probability.is_null().all() if is_fixed else probability.sum() == pytest.approx(1)


def test_a_plan_rules_over_the_scheduler(tmp_path: Path) -> None:
    order = order_table(Random(), pl.Series(["a", "b"]), np.zeros(2))
    sequence = sequence_table(Random(), np.zeros(2), 0, 1).with_columns(indices=pl.Series([[1, 1, 0]]))
    write_plan(tmp_path, order, sequence)
    _, recorded = read_plan(tmp_path)
    assert CurriculumSampler(2, Random(), recorded=recorded).sequence().tolist() == [1, 1, 0]
    with pytest.raises(ValueError, match="no sequence for epoch 1"):
        recorded_indices(tmp_path / "sequence.parquet", 1)


def test_generators_share_nothing() -> None:
    draws = {
        (seed, purpose, epoch): generator(seed, purpose, epoch).integers(2**62)
        for seed in (0, 1)
        for purpose in ("curriculum", "warmup")
        for epoch in (0, 1)
    }
    assert len(set(draws.values())) == 8
    assert generator(0, "warmup", 1).integers(2**62) == draws[0, "warmup", 1]
