"""Calibrated confidence over nested sets of modalities."""

from itertools import pairwise
from math import exp
from typing import Any, Literal

import pytest
import torch
from torch import Tensor, nn

from bss.training.methods.cml import CML
from bss.training.methods.joint import Joint
from tests.helpers.steps import Splits, assert_close, first_batch, gradients, small_trainer

Variant = Literal["published", "released"]
LARGER, SMALLER = torch.tensor([[1.0, 0.2, -0.5], [0.4, 0.9, 0.1]]), torch.tensor([[2.0, 0.5, -1], [0.2, 1.5, 0.3]])
LABELS = torch.tensor([0, 1])


def slow_penalty(sets: list[list[list[float]]], labels: list[int], variant: Variant) -> float:
    """Set by set and sample by sample; `sets` has [set][sample][class]."""
    total = 0.0
    for larger, smaller in pairwise(sets):
        for one, other, y in zip(larger, smaller, labels, strict=True):
            sure = [exp(max(row)) / sum(map(exp, row)) for row in (one, other)]
            right = [row.index(max(row)) == y for row in (one, other)]
            if variant == "published" or right[0] or not any(right):
                total += max(0.0, sure[1] - sure[0])
    return total / len(labels) if variant == "published" else total


@pytest.mark.parametrize("variant", ["published", "released"])
@pytest.mark.parametrize("number", [2, 3, 6])
def test_the_penalty_equals_its_slow_reference(variant: Variant, number: int) -> None:
    sets = torch.randn(number, 30, 4, generator=torch.Generator().manual_seed(number))
    labels = torch.arange(30) % 4
    found = float(CML(variant=variant).penalty(list(sets), labels))
    assert found == pytest.approx(slow_penalty(sets.tolist(), labels.tolist(), variant), rel=1e-5)


def test_two_samples_by_hand() -> None:
    assert float(CML(variant="released").penalty([LARGER, SMALLER], LABELS)) == pytest.approx(0.336695, abs=1e-6)
    assert float(CML().penalty([LARGER, SMALLER], LABELS)) == pytest.approx(0.168348, abs=1e-6)
    surer = LARGER.clone()
    surer[0, 0] = 3
    found = float(CML(variant="released").penalty([surer, SMALLER], LABELS))
    assert found == pytest.approx(0.149020, abs=1e-6), "samples do not cancel"


def test_where_both_are_wrong_the_larger_set_has_no_gradient() -> None:
    larger, smaller = LARGER.clone().requires_grad_(), SMALLER.clone().requires_grad_()
    CML(variant="released").penalty([larger, smaller], torch.tensor([1, 1])).backward()
    assert larger.grad is not None
    assert smaller.grad is not None
    assert [bool(row.any()) for row in larger.grad] == [False, True]
    assert [bool(row.any()) for row in smaller.grad] == [True, True]


def removals(trainer: object, names: list[str]) -> list[str]:
    generator = trainer.generator("order of removal")  # type: ignore[attr-defined]
    return [names[place] for place in torch.randperm(len(names), generator=generator).tolist()[:-1]]


@pytest.mark.parametrize(("variant", "weight"), [("published", 1.0), ("released", 0.1)])
def test_a_step_is_the_slow_one(splits: Splits, variant: Variant, weight: float) -> None:
    batch = first_batch(splits)
    method = CML(variant=variant, fused_weight=0.7, unimodal_weight=0.3)
    trainer = small_trainer(splits, method)
    model: Any = small_trainer(splits, Joint()).model.train()
    outputs = model(batch.inputs)
    trainer.num_steps = 1
    order, gone = removals(trainer, list(model.branches)), set()
    trainer.num_steps = 0
    sets: list[Tensor] = [outputs.logits["fused"]]
    for name in order:
        gone.add(name)
        sets.append(model.fusion({n: v * (n not in gone) for n, v in outputs.features.items()}))
    loss = 0.7 * sum(nn.functional.cross_entropy(logits, batch.labels) for logits in sets) / len(sets)
    loss = loss + weight * method.penalty(sets, batch.labels)
    for name in model.branches:
        loss = loss + 0.3 * nn.functional.cross_entropy(outputs.logits[name], batch.labels)
    model.zero_grad()
    loss.backward()
    expected = {name: values.grad for name, values in model.named_parameters()}
    assert_close(gradients(trainer, batch), expected)
    assert float(method.penalty(sets, batch.labels).detach()) > 0


def test_the_order_of_removal_changes_from_step_to_step(splits: Splits) -> None:
    trainer = small_trainer(splits, CML())
    names = list(trainer.model.branches)
    found = set()
    for number in range(20):
        trainer.num_steps = number
        found.add(tuple(removals(trainer, names)))
    assert len(found) >= len(names)
