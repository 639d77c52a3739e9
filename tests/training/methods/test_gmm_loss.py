"""Samples separated by the gap of their modalities."""

from math import exp, log, pi, sqrt
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from bss.training.loop import split_evidence
from bss.training.methods.gmm_loss import GMMLoss, imbalance, of_larger_mean, pull, sample_gaps
from bss.training.methods.joint import Joint
from bss.types import Split
from tests.helpers.steps import Splits, assert_same, first_batch, gradients, small_trainer, trained_weights


def slow_posterior(value: float, weights: list[float], means: list[float], deviations: list[float]) -> float:
    heights = [
        w * exp(-(((value - m) / s) ** 2) / 2) / (s * sqrt(2 * pi))
        for w, m, s in zip(weights, means, deviations, strict=True)
    ]
    return heights[means.index(max(means))] / sum(heights)


def slow_loss(
    logits: dict[str, list[list[float]]], labels: list[int], posterior: list[float], mean: float, pull_weight: float
) -> float:
    """Of a method whose other weights are 1, sample by sample."""
    total = 0.0
    for row, (y, imbalanced) in enumerate(zip(labels, posterior, strict=True)):
        p = {name: exp(z[row][y]) / sum(map(exp, z[row])) for name, z in logits.items()}
        there = [p[name] for name, z in logits.items() if name != "fused" and any(z[row])]
        gap = max(there) - min(there) if len(there) > 1 else 0.0
        total += -(2 - imbalanced) * log(p["fused"]) + (1 + imbalanced) * gap
        total += pull_weight * imbalanced * (gap - mean) ** 2 if gap > mean else 0.0
        total -= sum(log(value) for name, value in p.items() if name != "fused")
    return total / len(labels)


def test_posteriors_by_hand() -> None:
    mixture = (np.array([0.6, 0.4]), np.array([0.1, 0.6]), np.array([0.1, 0.2]))
    found = of_larger_mean(np.array([0.1, 0.5]), *mixture)
    assert found.tolist() == pytest.approx([0.014434, 0.998861], abs=1e-6)
    for value in (0.0, 0.3, 0.9):
        expected = slow_posterior(value, *(each.tolist() for each in mixture))
        assert of_larger_mean(np.array([value]), *mixture)[0] == pytest.approx(expected)
        turned = of_larger_mean(np.array([value]), *(each[::-1].copy() for each in mixture))
        assert turned[0] == pytest.approx(expected)


def test_two_groups_of_gaps_are_told_apart() -> None:
    generator = np.random.default_rng(0)
    gaps = np.concatenate([generator.normal(0.1, 0.05, 300), generator.normal(0.7, 0.1, 200)]).clip(0, 1)
    compared = np.ones(500, dtype=bool)
    compared[:5] = False
    found, mean = imbalance(gaps, compared)
    assert mean == pytest.approx(0.1, abs=0.02)
    assert (found[5:300] < 0.5).mean() > 0.98
    assert (found[300:] > 0.5).mean() > 0.98
    assert not found[:5].any()
    for values, some in ((np.full(9, 0.3), np.ones(9, dtype=bool)), (gaps, np.zeros(500, dtype=bool))):
        found, mean = imbalance(values, some)
        assert not found.any()
        assert mean == 1


def test_the_pull_by_hand() -> None:
    """With the posteriors above, of balanced samples around 0.1."""
    gaps = torch.tensor([0.1, 0.5, 0.05], requires_grad=True)
    found = pull(gaps, torch.tensor([0.014434, 0.998861, 0.9]), torch.tensor(0.1))
    assert found.tolist() == pytest.approx([0, 0.159818, 0], abs=1e-6)
    found.sum().backward()
    assert gaps.grad is not None
    assert gaps.grad.tolist() == pytest.approx([0, 0.799089, 0], abs=1e-6), "no gap is made larger"


@pytest.mark.parametrize("pull_weight", [0.0, 2.0])
@pytest.mark.parametrize("number", [2, 3, 6])
def test_the_loss_equals_its_slow_reference(number: int, pull_weight: float) -> None:
    torch.manual_seed(number)
    logits = {name: torch.randn(20, 4) for name in (*(f"m{m}" for m in range(number)), "fused")}
    logits["m0"][:3] = 0  # these lack it
    labels, posterior = torch.arange(20) % 4, torch.rand(20)
    method = GMMLoss(pull_weight=pull_weight)
    found = float(method.separated_loss(logits, labels, posterior, torch.tensor(0.2)))
    lists = ({name: z.tolist() for name, z in logits.items()}, labels.tolist(), posterior.tolist())
    assert found == pytest.approx(slow_loss(*lists, 0.2, pull_weight), rel=1e-5)


def test_gaps_are_of_the_modalities_that_a_sample_has() -> None:
    z = {"a": torch.tensor([[9.0, 0], [0, 0]]), "b": torch.tensor([[0.0, 9], [1, 0]]), "c": torch.zeros(2, 2)}
    gaps, compared = sample_gaps(z, torch.tensor([0, 0]))
    assert compared.tolist() == [True, False]
    assert gaps.tolist() == pytest.approx([1 / (1 + exp(-9)) - 1 / (1 + exp(9)), 0])


def test_it_separates_before_an_epoch_and_leaves_out_late(splits: Splits) -> None:
    trainer = small_trainer(splits, GMMLoss(starts=1, balanced_from=2, pull_weight=1))
    method: Any = trainer.method
    clean = split_evidence(trainer.model, splits[Split.TRAIN], 16, trainer.runtime)
    sequence, batch = np.arange(96)[::-1], first_batch(splits)

    def begin(epoch: int) -> None:
        method.begin_epoch(trainer, epoch, lambda: clean, lambda: clean)

    begin(0)
    assert not trainer.memory
    assert_same(gradients(trainer, batch), gradients(small_trainer(splits, Joint()), batch))
    begin(1)
    posterior = trainer.memory["imbalanced"]
    assert posterior.shape == (96,)
    assert method.order(sequence, trainer.memory).indices.tolist() == sequence.tolist()
    given = (trainer.model(batch.inputs).logits, batch.labels, posterior[:16], trainer.memory["balanced gap"])
    weighed = float(method.separated_loss(*given).detach())
    assert float(method.step(trainer, batch)[1].detach()) == pytest.approx(weighed, rel=1e-4)
    begin(2)
    kept = method.order(sequence, trainer.memory).indices
    assert kept.tolist() == [row for row in sequence if posterior[row] < 0.5]
    assert 2 <= len(kept) < 96
    trainer.memory["left_out"][:] = True
    assert method.order(sequence, trainer.memory).indices.tolist() == sequence.tolist()


def test_nothing_is_left_out_before_samples_are_separated() -> None:
    with pytest.raises(ValidationError, match=r"balanced_from is 1, before starts \(2\)"):
        GMMLoss(balanced_from=1)
    assert GMMLoss(balanced_from=2).balanced_from == 2


def test_without_weights_and_before_it_starts_it_is_joint(splits: Splits) -> None:
    joint = trained_weights(splits, Joint())
    assert_same(trained_weights(splits, GMMLoss(balance_weight=0, gap_weight=0, starts=0)), joint)
    assert_same(trained_weights(splits, GMMLoss(starts=2)), joint)


def test_the_pull_alone_separates_too(splits: Splits) -> None:
    weights = {"balance_weight": 0.0, "gap_weight": 0.0, "starts": 0}
    joint, pulled = (trained_weights(splits, GMMLoss(**weights, pull_weight=weight)) for weight in (0.0, 1.0))
    assert not torch.equal(pulled["branches.m0.head.weight"], joint["branches.m0.head.weight"])
