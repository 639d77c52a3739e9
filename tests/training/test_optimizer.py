"""The optimizer and its learning rate."""

from itertools import pairwise
from math import cos, pi

import pytest
import torch
from torch import nn

from bss.training.optimizer import build_optimizer, forget_momentum, lr_factor
from bss.training.settings import Optimisation
from tests.helpers.toy import TRAIN


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_the_optimizer_is_the_named_one(optimizer: str) -> None:
    settings = Optimisation(batch_size=2, optimizer=optimizer, lr=0.5, weight_decay=0.25, momentum=0.75)
    built = build_optimizer([torch.nn.Parameter(torch.ones(1))], settings)
    assert type(built).__name__.lower() == optimizer
    assert built.defaults["lr"] == 0.5
    assert built.defaults["weight_decay"] == 0.25
    assert built.defaults.get("momentum", 0.75) == 0.75


def test_weights_may_join_in_later() -> None:
    weights = [torch.nn.Parameter(torch.ones(2)) for _ in range(2)]
    optimizer = build_optimizer(weights, TRAIN.model_copy(update={"optimizer": "sgd", "weight_decay": 0.0}))
    for step in range(3):
        for weight in weights[: step + 1]:
            weight.grad = torch.ones(2)
        optimizer.step()
        optimizer.zero_grad()
    moved = [1 - TRAIN.lr * (1 + 1.9 + 2.71), 1 - TRAIN.lr * (1 + 1.9)]
    assert [weight[0].item() for weight in weights] == pytest.approx(moved)


def test_schedules_of_the_learning_rate() -> None:
    assert lr_factor("constant", 0.9) == 1
    assert lr_factor("cosine", 0.25) == pytest.approx(0.5 * (1 + cos(pi / 4)))
    assert [lr_factor("step", progress) for progress in (0, 0.3, 0.4, 0.7)] == pytest.approx([1, 1, 0.1, 0.01])
    for schedule in ("constant", "cosine", "step"):
        values = [lr_factor(schedule, step / 50) for step in range(50)]
        assert values[0] == 1
        assert all(low <= high for high, low in pairwise(values))


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_one_that_forgets_goes_on_as_a_new_one(name: str) -> None:
    """The second weight has no gradient at first: a velocity that is missing would stop the fused step."""
    settings = TRAIN.model_copy(update={"optimizer": name})

    def steps(optimizer: torch.optim.Optimizer, weights: list[nn.Parameter], num: int, *, both: bool) -> None:
        for step in range(num):
            for place, weight in enumerate(weights):
                weight.grad = torch.full_like(weight, 1.0 + step) if both or place == 0 else None
            optimizer.step()

    weights = [nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(2))]
    optimizer = build_optimizer(weights, settings)
    steps(optimizer, weights, 3, both=False)
    forget_momentum(optimizer)
    copies = [nn.Parameter(weight.detach().clone()) for weight in weights]
    fresh = build_optimizer(copies, settings)
    for moving, own in ((optimizer, weights), (fresh, copies)):
        steps(moving, own, 2, both=True)
    assert all(torch.equal(weight, copy) for weight, copy in zip(weights, copies, strict=True))
