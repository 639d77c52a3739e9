"""Draws that look like held-out samples: the weights by hand, by loops, and in training."""

from bisect import bisect_right

import numpy as np
import pytest
import torch

from bss.curriculum.sampler import CurriculumSampler
from bss.curriculum.schedulers.matched import Matched
from bss.curriculum.schedulers.scheduler import epoch_indices

RNG = np.random.default_rng(0)


def slow_weights(train: list[float], held_out: list[float], power: float) -> list[float]:
    """Ratio of the two shares at or below each score; then nothing above the weight of a higher score."""
    ratios = []
    for score in train:
        of_held_out = (bisect_right(sorted(held_out), score) + 0.5) / (len(held_out) + 1)
        of_train = sum(other <= score for other in train) / len(train)
        ratios.append(max(min(1.0, of_held_out / of_train) ** power, 1e-3))
    return [min(ratios[i] for i in range(len(train)) if train[i] >= score) for score in train]


@pytest.mark.parametrize("power", [0.0, 1.0, 2.0, 4.0])
def test_the_weights_are_the_slow_reference(power: float) -> None:
    train, held_out = RNG.normal(size=60).round(1), RNG.normal(0.5, size=25).round(1)  # with ties
    found = Matched(power=power).weights(train, held_out)
    assert found == pytest.approx(slow_weights(train.tolist(), held_out.tolist(), power))
    assert found.max() <= 1


def test_golden() -> None:
    """Held-out scores 1, 3; training 0, 1, 2, 3: (0.5, 1.5, 1.5, 2.5) / 3 over (1, 2, 3, 4) / 4, at most 1."""
    found = Matched(power=1.0).weights(np.array([0.0, 1.0, 2.0, 3.0]), np.array([1.0, 3.0]))
    assert found == pytest.approx([2 / 3, 2 / 3, 2 / 3, 5 / 6])


def test_alike_samples_are_drawn_alike_and_worse_ones_less() -> None:
    good, held_out, bad = RNG.normal(size=800), RNG.normal(size=400), RNG.normal(-4, 1, size=200)
    scheduler = Matched()
    alike = scheduler.weights(good, held_out)
    assert np.quantile(alike, 0.05) > 0.75 * alike.max(), "up to the chance of 400 held-out samples"
    weights = scheduler.weights(np.concatenate([good, bad]), held_out)
    assert weights[800:].mean() < 0.05
    assert np.median(weights[:800]) > 0.5
    values = {"confidence": torch.from_numpy(-np.concatenate([good, bad]))}
    anti = Matched(anti=True, criteria=("confidence",)).scored(
        values, held_out={"confidence": torch.from_numpy(-held_out)}
    )
    assert np.exp(anti.numpy())[800:].mean() < 0.05, "the samples that stand out at the other end"


def test_a_sample_is_drawn_by_the_geometric_mean_of_all_measurements() -> None:
    scheduler = Matched(floor=0.1, refresh_every=2)
    first, second = np.log([1.0, 0.25, 0.01]), np.log([1.0, 1.0, 0.01])
    means = scheduler.update(first, second, np.ones(3))
    assert scheduler.probabilities(first) == pytest.approx(np.array([1, 0.25, 0.1]) / 1.35)
    expected = np.array([1, 0.5, 0.1]) / 1.6
    for epoch in (2, 3):  # measured before epochs 2, 4, ...
        drawn = np.bincount(epoch_indices(scheduler, np.repeat(means, 400), 0, epoch) // 400, minlength=3) / 1200
        assert drawn == pytest.approx(expected, abs=0.002)


def test_without_held_out_samples_it_says_what_is_missing() -> None:
    sampler = CurriculumSampler(4, Matched())
    logits = dict.fromkeys(["a", "b", "fused"], torch.randn(4, 3))
    sampler.observe(range(4), logits, torch.zeros(4, dtype=torch.int64))
    assert sampler.wants_held_out
    with pytest.raises(ValueError, match="observe_held_out"):
        sampler.end_epoch()


def test_the_sampler_remembers_held_out_samples() -> None:
    torch.manual_seed(0)
    logits = {name: torch.randn(20, 3) for name in ("a", "b", "fused")}
    labels = torch.arange(20) % 3

    def observed() -> CurriculumSampler:
        sampler = CurriculumSampler(20, Matched(), scores=np.zeros(20))
        sampler.observe(range(20), logits, labels)
        sampler.observe_held_out({name: 3 * values[:7] for name, values in logits.items()}, labels[:7])
        return sampler

    whole, resumed = observed(), CurriculumSampler(20, Matched(), scores=np.zeros(20))
    resumed.load_state_dict(observed().state_dict())
    for sampler in (whole, resumed):
        sampler.end_epoch()
    assert (whole.scores == resumed.scores).all()
    assert whole.scores.min() < 0
    assert (whole.sequence() == resumed.sequence()).all()


@pytest.mark.parametrize("scores", [None, np.full(20, -0.3)], ids=["none before", "scores before"])
def test_weights_are_of_the_measurements_that_a_sample_had(scores: np.ndarray | None) -> None:
    """By the batches of training; the last five samples are not seen before the third epoch."""
    torch.manual_seed(0)
    labels = torch.arange(20) % 3
    sampler = CurriculumSampler(20, Matched(score_update="online"), scores=scores)
    logs: list[list[float]] = [[] if scores is None else [-0.3] for _ in range(20)]
    for epoch in range(4):
        logits = {name: torch.randn(20, 3) for name in ("a", "b", "fused")}
        rows = list(range(20 if epoch > 1 else 15))
        sampler.observe(rows, {name: values[rows] for name, values in logits.items()}, labels[rows])
        sampler.observe_held_out({name: 3 * values[:7] for name, values in logits.items()}, labels[:7])
        values = {
            name: torch.from_numpy(row[rows])
            for name, row in zip(sampler.scheduler.criteria, sampler._samples.criteria, strict=True)
        }
        held_out = sampler._samples.held_out
        for row, value in zip(rows, sampler.scheduler.scored(values, held_out=held_out).tolist(), strict=True):
            logs[row].append(value)
        sampler.end_epoch()
        for row, of_row in enumerate(logs):
            wanted = sum(of_row) / len(of_row) if of_row else 0.0
            assert float(sampler.scores[row]) == pytest.approx(wanted)


def test_a_refused_end_of_an_epoch_counts_no_draw() -> None:
    sampler = CurriculumSampler(4, Matched())
    assert len(list(sampler)) == 4
    with pytest.raises(ValueError, match="observe"):
        sampler.end_epoch()
    logits = dict.fromkeys(["a", "b", "fused"], torch.randn(4, 3))
    sampler.observe(range(4), logits, torch.zeros(4, dtype=torch.int64))
    sampler.observe_held_out(logits, torch.zeros(4, dtype=torch.int64))
    sampler.end_epoch()
    assert sampler._samples.num_draws.sum() == 4
