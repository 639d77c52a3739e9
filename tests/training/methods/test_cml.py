"""Calibrated confidence over nested sets of modalities."""

from itertools import pairwise
from math import exp, inf
from typing import Any, Literal

import pytest
import torch
from torch import Tensor, nn

from bss.training.methods.cml import CML, similarities
from bss.training.methods.joint import Joint
from tests.helpers.steps import Splits, assert_close, first_batch, gradients, small_trainer

Variant = Literal["published", "released"]
LARGER, SMALLER = torch.tensor([[1.0, 0.2, -0.5], [0.4, 0.9, 0.1]]), torch.tensor([[2.0, 0.5, -1], [0.2, 1.5, 0.3]])
LABELS = torch.tensor([0, 1])


def slow_penalty(sets: list[list[list[float]]], labels: list[int], variant: Variant, script: str = "miwae") -> float:
    """Set by set and sample by sample; `sets` has [set][sample][class]."""
    total = 0.0
    for larger, smaller in pairwise(sets):
        for one, other, y in zip(larger, smaller, labels, strict=True):
            sure = [exp(max(row)) / sum(map(exp, row)) for row in (one, other)]
            right = [row.index(max(row)) == y for row in (one, other)]
            counts = right[0] or not right[1] if script == "cpm" else right[0] or not any(right)
            if variant == "published" or counts:
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


def test_by_similarities_both_sets_learn_wherever_a_sample_counts() -> None:
    """Right and right, wrong and wrong, right and wrong; wrong and right does not count."""
    larger = torch.tensor([[1.0, 0], [1.0, 0], [1.0, 0], [1.0, 0]], requires_grad=True)
    smaller = torch.tensor([[2.0, 0], [2.0, 0], [0, 2.0], [0, 2.0]], requires_grad=True)
    CML(variant="released", confidence="similarities").penalty(
        [larger, smaller], torch.tensor([0, 1, 0, 1])
    ).backward()
    for scores in (larger, smaller):
        assert scores.grad is not None
        assert [bool(row.any()) for row in scores.grad] == [True, True, True, False]


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


def slow_similarities(rows: list[list[float]], labels: list[int], num_classes: int) -> list[list[float]]:
    """Sample by sample and class by class; `rows` has the features side by side."""
    found = []
    for i, own in enumerate(rows):
        means = []
        for c in range(num_classes):
            members = [j for j, y in enumerate(labels) if y == c]
            dots = [sum(a * b for a, b in zip(own, rows[j], strict=True)) for j in members if j != i]
            means.append(sum(dots) / len(members) if members else -inf)
        found.append(means)
    return found


@pytest.mark.parametrize("number", [2, 3, 6])
def test_similarities_equal_their_slow_reference(number: int) -> None:
    generator = torch.Generator().manual_seed(number)
    features = {f"m{m}": torch.randn(8, 2 + m, generator=generator) for m in range(number)}
    labels = torch.tensor([0, 1, 3, 0, 0, 1, 1, 0])  # one of class 3, none of class 2
    found = similarities(features, labels, 4)
    wanted = slow_similarities(torch.cat([*features.values()], dim=1).tolist(), labels.tolist(), 4)
    assert torch.allclose(found, torch.tensor(wanted), atol=1e-4)


def test_similarities_by_hand() -> None:
    found = similarities(
        {"a": torch.tensor([[1.0], [2], [3]]), "v": torch.tensor([[0.0], [1], [1]])}, torch.tensor([0, 0, 1]), 2
    )
    assert found.tolist() == [[1.0, 3.0], [1.0, 7.0], [5.0, 0.0]]


@pytest.mark.parametrize("variant", ["published", "released"])
@pytest.mark.parametrize("number", [2, 6])
def test_the_penalty_of_similarities_equals_its_slow_reference(variant: Variant, number: int) -> None:
    sets = torch.randn(number, 30, 4, generator=torch.Generator().manual_seed(number))
    labels = torch.arange(30) % 4
    found = float(CML(variant=variant, confidence="similarities").penalty(list(sets), labels))
    assert found == pytest.approx(slow_penalty(sets.tolist(), labels.tolist(), variant, "cpm"), rel=1e-5)


@pytest.mark.parametrize("variant", ["published", "released"])
def test_a_step_by_similarities_is_the_slow_one(splits: Splits, variant: Variant) -> None:
    batch = first_batch(splits)
    method = CML(variant=variant, confidence="similarities", weight=0.5)
    trainer = small_trainer(splits, method)
    model: Any = small_trainer(splits, Joint()).model.train()
    outputs = model(batch.inputs)
    trainer.num_steps = 1
    order, gone = removals(trainer, list(model.branches)), set()
    trainer.num_steps = 0
    nested = [outputs.features]
    for name in order:
        gone.add(name)
        nested.append({n: v * (n not in gone) for n, v in outputs.features.items()})
    loss = sum(nn.functional.cross_entropy(model.fusion(left), batch.labels) for left in nested) / len(nested)
    loss = loss + sum(nn.functional.cross_entropy(outputs.logits[name], batch.labels) for name in model.branches)
    penalty = method.penalty([similarities(left, batch.labels, 3) for left in nested], batch.labels)
    (loss + 0.5 * penalty).backward()
    assert float(penalty.detach()) > 0
    assert_close(gradients(trainer, batch), {name: weight.grad for name, weight in model.named_parameters()})
