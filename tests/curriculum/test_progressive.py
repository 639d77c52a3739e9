"""The scheduler `progressive`: golden values, stages, and what is refused."""

from math import pi, sin, sqrt

import numpy as np
import pytest
import torch

from bss.curriculum.sampler import CurriculumSampler
from bss.curriculum.schedulers.progressive import Progressive
from bss.curriculum.schedulers.scheduler import SCHEDULERS, epoch_indices
from bss.params import load
from tests.helpers import ROOT

ACCURACIES = np.array([0, 1 / 16, 4 / 16, 8 / 16, 12 / 16, 15 / 16, 1])
GOLDEN = {
    "published": (
        [0, 0.195090, 0.707107, 1, 1, 1, 1],
        [0, 0.195090, 0.707107, 1, 0.707107, 0.195090, 0],
        [0.25, 1, 1, 1, 0.707107, 0.195090, 0],
    ),
    "effective": (
        [0, 0.094448, 0.612372, 1, 0.866025, 0.484123, 0],
        [0, 0.094448, 0.612372, 1, 0.612372, 0.094448, 0],
        [0, 0.484123, 0.866025, 1, 0.612372, 0.094448, 0],
    ),
}


@pytest.mark.parametrize("variant", GOLDEN)
@pytest.mark.parametrize("stage", range(3))
def test_the_weights_of_the_three_stages(variant: str, stage: int) -> None:
    scheduler = Progressive.model_validate({"variant": variant})
    assert scheduler.weights(ACCURACIES, stage).tolist() == pytest.approx(GOLDEN[variant][stage], abs=1e-6)


def slow_weight(a: float, stage: str) -> float:
    soft = sin(pi * a)
    if a == 0:
        return 0.25 if stage == "hard" else 0.0
    if a <= 0.5:
        return 1.0 if stage == "hard" else soft
    return 1.0 if stage == "easy" else soft


@pytest.mark.parametrize("variant", GOLDEN)
def test_the_weights_equal_their_slow_reference(variant: str) -> None:
    scores = np.random.default_rng(0).uniform(-0.1, 1.1, 300)
    for number, stage in enumerate(("easy", "medium", "hard")):
        slow = []
        for score in scores:
            a = round(min(max(score, 0.0), 1.0) * 16) / 16
            slow.append(slow_weight(a, stage) * (2 * sqrt(a * (1 - a)) if variant == "effective" else 1))
        found = Progressive.model_validate({"variant": variant}).weights(scores, number)
        assert found.tolist() == pytest.approx(slow, abs=1e-9)


def test_a_running_confidence_becomes_probabilities() -> None:
    scheduler = Progressive()
    running = scheduler.update(
        np.array([0.05, 0.3, 0.3, 0.3, 0.9]), np.array([0.02, 0.10, 0.35, 0.60, 0.97]), np.ones(5)
    )
    assert running.tolist() == pytest.approx([0.032, 0.180, 0.330, 0.480, 0.942])
    expected = {
        0: [0.054462, 0.155095, 0.232116, 0.279164, 0.279164],
        1: [0.070247, 0.200045, 0.299389, 0.360072, 0.070247],
        2: [0.238374, 0.238374, 0.238374, 0.238374, 0.046504],
    }
    for stage, probabilities in expected.items():
        weights = scheduler.weights(running, stage)
        assert (weights / weights.sum()).tolist() == pytest.approx(probabilities, abs=1e-6)


def test_the_stages_follow_each_other_and_anti_begins_with_the_hard_ones() -> None:
    stages = [Progressive(stage_epochs=(2, 1)).stage(epoch) for epoch in range(5)]
    assert stages == [0, 0, 1, 2, 2]
    assert [Progressive(stage_epochs=(2, 1), anti=True).stage(epoch) for epoch in range(5)] == [2, 2, 1, 0, 0]
    assert Progressive(stage_epochs=(0, 0)).stage(0) == 2


def test_the_confidence_arrives_as_it_is() -> None:
    """Two samples at 0.2 and 0.6: minimum and maximum of what is seen change nothing."""
    sampler = CurriculumSampler(2, Progressive(beta=1.0))
    logits = torch.tensor([[0.2, 0.8], [0.6, 0.4]]).log()
    sampler.observe([0, 1], {"a": logits, "b": -logits, "fused": logits}, torch.tensor([0, 0]))
    sampler.end_epoch()
    assert sampler.scores.tolist() == pytest.approx([0.2, 0.6])


def test_where_nothing_is_learned_yet_all_are_drawn_alike() -> None:
    scores = np.full(40, 0.01)
    assert Progressive().probabilities(scores).tolist() == pytest.approx([1 / 40] * 40)
    assert len(epoch_indices(Progressive(), scores, 0, 0)) == 40
    assert Progressive(floor=0.1).probabilities(np.array([0.0, 1.0])).tolist() == pytest.approx([1 / 11, 10 / 11])


def test_balance_criteria_are_scaled_from_imbalanced_to_balanced() -> None:
    scheduler = Progressive(criteria=("prediction_similarity", "training_loss"))
    drawn = scheduler.probabilities(np.array([-0.8, -0.2, 0.4]))
    assert drawn.tolist() == pytest.approx([0, 0.5, 0.5])


def test_online_without_a_floor_is_refused() -> None:
    with pytest.raises(ValueError, match="a pair of weight 0 would never be seen again: set a floor such as 0.02"):
        Progressive(score_update="online")
    Progressive(score_update="online", floor=0.02)


def test_it_keeps_its_own_criterion_in_params(tmp_path: object) -> None:
    settings = load(ROOT / "params.yaml").curriculum.schedulers["learned"]
    assert settings.criteria == ("prediction_similarity", "training_loss")
    assert SCHEDULERS.example("progressive").criteria == ("confidence",)
