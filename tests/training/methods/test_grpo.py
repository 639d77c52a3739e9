"""GRPO with one step: advantages, weights, clip and penalty against golden values and a slow reference."""

from math import exp, log, sqrt

import numpy as np
import pytest
import torch

from bss.training.losses import class_weighted
from bss.training.methods.grpo import GRPO
from tests.helpers.steps import Splits, assert_close, first_batch, gradients, small_trainer
from tests.helpers.toy import packed_toy

ALL_ALIKE = 99
"""An epoch in the stage hard, where F is 1 for 0 < a <= 1/2."""


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Splits:
    return packed_toy(tmp_path_factory.mktemp("toy"))


@pytest.mark.parametrize(
    ("right", "of_right", "of_wrong", "weight"),
    [(1, 3.749985, -0.25, 1), (4, 1.677051, -0.559017, 1), (8, 0.968246, -0.968246, 1),
     (12, 0.559017, -1.677051, 0.707107), (15, 0.25, -3.749985, 0.195090), (0, 0, 0, 0.25), (16, 0, 0, 0)],
)  # fmt: skip
def test_the_advantages_of_a_group_of_sixteen(right: int, of_right: float, of_wrong: float, weight: float) -> None:
    share = torch.tensor([[right / 16, (16 - right) / 16]]).double()
    found = GRPO().advantages(share, torch.tensor([0]), ALL_ALIKE)
    expected = [weight * of_right, weight * of_wrong]
    assert found[0].tolist() == pytest.approx(expected, abs=2e-5) if 0 < right < 16 else (share * found).sum() == 0


@pytest.mark.parametrize(
    ("advantage", "ratio", "loss"),
    [(1.677051, 1.3, -2.012461), (1.677051, 0.7, -1.173936), (-0.559017, 1.3, 0.726722), (-0.559017, 0.7, 0.447214)],
)
def test_the_clip(advantage: float, ratio: float, loss: float) -> None:
    old = torch.tensor([[0.4, 0.6]]).double().log()
    found = GRPO(kl=0).surrogate(old + log(ratio), old, torch.full((1, 2), advantage).double(), None)
    assert found[0].tolist() == pytest.approx([loss] * 2, abs=1e-6)


def test_the_penalty() -> None:
    policy = torch.tensor([[0.5, 0.5]]).double().log()
    reference = torch.tensor([[0.4, 0.6]]).double().log()
    found = GRPO(kl=1.0).surrogate(policy, policy, torch.zeros(1, 2).double(), reference)
    assert found[0, 0].item() == pytest.approx(0.023144, abs=1e-6)


def test_infinitely_many_draws_are_the_mean_of_many() -> None:
    policy = torch.tensor([[0.2, 0.5, 0.3], [0.7, 0.2, 0.1]]).log()
    labels, generator = torch.tensor([1, 2]), torch.Generator().manual_seed(0)
    many, endless = GRPO(group=200_000), GRPO(group=0)
    drawn, exact = many.drawn(policy, generator), endless.drawn(policy, generator)
    assert torch.allclose(drawn, exact, atol=0.005)
    found, expected = (one.advantages(share, labels, 0) for one, share in ((many, drawn), (endless, exact)))
    assert torch.allclose(found, expected, atol=0.05)


def test_a_step_is_the_slow_one(pair: Splits) -> None:
    """Plain floats, sample by sample and draw by draw, for one update by gradients of finite differences."""
    method = GRPO(group=5, inner=1, kl=0.1, stage_epochs=(0, 0))
    trainer, batch = small_trainer(pair, method), first_batch(pair)
    with torch.no_grad():
        logits = trainer.model(batch.inputs).logits["fused"].double()
    policy = logits.log_softmax(dim=1)
    trainer.num_steps = 1
    trainer.memory["reference"] = torch.zeros(96, 3).log_softmax(dim=1).double()
    share = method.drawn(policy.float(), trainer.generator("classes drawn"))
    total = 0.0
    for row, label in enumerate(batch.labels.tolist()):
        counts = (share[row] * 5).round().int().tolist()
        draws = [name for name, count in enumerate(counts) for _ in range(count)]
        rewards = [float(name == label) for name in draws]
        mean = sum(rewards) / 5
        std = sqrt(sum((reward - mean) ** 2 for reward in rewards) / 4)
        weight = 0.25 if mean == 0 else 1.0 if mean <= 0.5 else np.sin(np.pi * mean)
        for name, reward in zip(draws, rewards, strict=True):
            distance = log(1 / 3) - policy[row, name].item()
            penalty = 0.1 * (exp(distance) - distance - 1)
            total += (-weight * (reward - mean) / (std + 1e-6) + penalty) / 5 / len(batch.labels)
    _, loss = method.step(trainer, batch)
    probes = sum(
        -values.log_softmax(dim=1)[range(len(batch.labels)), batch.labels].mean().item()
        for name, values in small_trainer(pair, method).model(batch.inputs).logits.items()
        if name != "fused"
    )
    assert loss.item() == pytest.approx(total + probes, rel=1e-4)


def test_classes_weigh_what_their_samples_add(pair: Splits) -> None:
    batch, found = first_batch(pair), {}
    for name, weights in {"none": [0.0, 0.0, 0.0], "ones": [1.0, 1.0, 1.0], "twos": [2.0, 2.0, 2.0]}.items():
        with class_weighted(torch.tensor(weights)):
            found[name] = gradients(small_trainer(pair, GRPO(group=5, inner=1, kl=0)), batch)
    assert not any(values.any() for values in found["none"].values())
    assert_close(found["twos"], {name: 2 * values for name, values in found["ones"].items()})


def test_the_reward_is_learned(pair: Splits) -> None:
    trainer = small_trainer(pair, GRPO(kl=0))
    batch = first_batch(pair)
    start = trainer.model(batch.inputs).logits["fused"].softmax(dim=1)[range(len(batch.labels)), batch.labels].mean()
    for number in range(40):
        trainer.num_steps = number
        trainer.method.step(trainer, batch)
    end = trainer.model(batch.inputs).logits["fused"].softmax(dim=1)[range(len(batch.labels)), batch.labels].mean()
    assert end > start + 0.2


def test_a_single_draw_is_refused() -> None:
    with pytest.raises(ValueError, match="group is 1, and a single draw has no deviation"):
        GRPO(group=1)
