"""Misaligned samples."""

from math import exp, log, sqrt
from typing import Any

import pytest
import torch
from torch import Tensor

from bss.training.methods.joint import Joint
from bss.training.methods.midas import MIDAS, Swap, drawn_swap, hardness, misaligned_loss, swapped
from bss.types import PRESENT
from tests.helpers.gaps import with_gaps
from tests.helpers.steps import (
    Splits,
    assert_close,
    assert_same,
    first_batch,
    gradients,
    small_trainer,
    trained_weights,
)

NAMES = ("m0", "m1", "m2")


def slow_loss(
    row: list[float], own: int, other: int, sure: list[float], weights: list[float], swapped_place: int, hard: float
) -> float:
    """Of one misaligned sample, whose `sure` are of the samples that its modalities come from."""
    logs = [value - log(sum(map(exp, row))) for value in row]
    total = 0.0
    for place, (value, weight) in enumerate(zip(sure, weights, strict=True)):
        total -= weight * value / sum(sure) * logs[other if place == swapped_place else own]
    return hard * total


def test_the_loss_equals_its_slow_reference() -> None:
    generator = torch.Generator().manual_seed(0)
    fused, labels = torch.randn(12, 4, generator=generator), torch.arange(12) % 4
    partners = (torch.arange(12) + 5) % 12
    swap = Swap("m1", partners, torch.ones(12, dtype=torch.bool))
    sure = {name: torch.rand(12, generator=generator) for name in NAMES}
    weights = {name: torch.tensor(value) for name, value in zip(NAMES, (1.0, 1.5, 2.0), strict=True)}
    hard = 1 + torch.rand(12, generator=generator)
    found = misaligned_loss(fused, labels, swap, sure, weights, hard)
    for row in range(12):
        partner = int(partners[row])
        come = [float(sure[name][partner if name == "m1" else row]) for name in NAMES]
        given = (come, [1.0, 1.5, 2.0], 1, float(hard[row]))
        expected = slow_loss(fused[row].tolist(), int(labels[row]), int(labels[partner]), *given)
        assert float(found[row]) == pytest.approx(expected, rel=1e-5)


def test_hardness_by_hand() -> None:
    features = {"a": torch.tensor([[1.0, 0], [0.0, 1]]), "b": torch.tensor([[2.0], [-2.0]])}
    found = hardness(features, Swap("b", torch.tensor([1, 0]), torch.tensor([True, True])))
    cosine = (1 - 4) / sqrt(5) ** 2
    assert found.tolist() == pytest.approx([1 + (cosine + 1) / 2] * 2)
    same = hardness(features, Swap("b", torch.tensor([0, 1]), torch.tensor([True, True])))
    assert same.tolist() == pytest.approx([2, 2])


def test_a_partner_is_of_another_class_and_has_the_modality() -> None:
    labels = torch.tensor([0, 0, 1, 2, 1, 0])
    there = {name: torch.ones(6, dtype=torch.bool) for name in NAMES}
    there["m1"][[2, 3]] = False
    found, partners = set(), set()
    for seed in range(40):
        swap = drawn_swap(labels, there, torch.Generator().manual_seed(seed))
        found.add(swap.modality)
        partners.add(int(swap.partners[0]))
        assert swap.made.tolist() == there[swap.modality].tolist()
        for row in range(6):
            if swap.made[row]:
                assert labels[swap.partners[row]] != labels[row]
                assert there[swap.modality][swap.partners[row]]
    assert found == set(NAMES)
    assert partners == {2, 3, 4}
    alone = drawn_swap(torch.zeros(4, dtype=torch.int64), {"a": torch.ones(4, dtype=torch.bool)}, torch.Generator())
    assert not alone.made.any()


def test_the_least_sure_modality_gains_weight_and_the_others_return_to_one() -> None:
    method, memory = MIDAS(rate=0.1), dict[str, Tensor]()
    there = {name: torch.ones(2, dtype=torch.bool) for name in NAMES}
    low = {name: torch.full((2,), value) for name, value in zip(NAMES, (0.9, 0.2, 0.8), strict=True)}
    for number in (1, 2):
        weights = method.modality_weights(memory, low, there)
        assert [float(weights[name]) for name in NAMES] == pytest.approx([1, 1 + 0.1 * number, 1])
    turned = {"m0": low["m1"], "m1": low["m0"], "m2": low["m2"]}
    weights = method.modality_weights(memory, turned, there)
    assert [float(weights[name]) for name in NAMES] == pytest.approx([1.1, 1.1, 1])


def test_a_step_is_the_slow_one(splits: Splits) -> None:
    batch = first_batch(splits)
    method = MIDAS(misaligned_weight=2, rate=0.5, fused_weight=0.7, unimodal_weight=0.3)
    trainer = small_trainer(splits, method)
    model: Any = small_trainer(splits, Joint()).model.train()
    names, outputs = list(model.branches), model(batch.inputs)
    trainer.num_steps = 1
    there = {name: torch.ones(16, dtype=torch.bool) for name in names}
    swap = drawn_swap(batch.labels, there, trainer.generator("swapped modality"))
    trainer.num_steps = 0
    loss = Joint(fused_weight=0.7, unimodal_weight=0.3).loss(outputs.logits, batch.labels)
    inputs = {
        name: torch.stack([values[int(swap.partners[row]) if name == swap.modality else row] for row in range(16)])
        for name, values in batch.inputs.items()
    }
    moved = model(inputs)
    sure = {n: outputs.logits[n].detach().softmax(1)[torch.arange(16), batch.labels] for n in names}
    means = {n: float(sure[n].mean()) for n in names}
    weights = {n: 1.5 if means[n] < sum(means[o] for o in names if o != n) / (len(names) - 1) else 1 for n in names}
    for row in range(16):
        j = int(swap.partners[row])
        side, other = (torch.cat([each.features[n][row] for n in names]).detach() for each in (outputs, moved))
        hard = 1 + (float(side @ other / side.norm() / other.norm()) + 1) / 2
        come = {n: float(sure[n][j if n == swap.modality else row]) for n in names}
        for n in names:
            label = batch.labels[j if n == swap.modality else row]
            cost = -moved.logits["fused"][row].log_softmax(0)[label]
            loss = loss + 2 / 16 * hard * weights[n] * come[n] / sum(come.values()) * cost
    model.zero_grad()
    loss.backward()
    assert_close(gradients(trainer, batch), {name: weight.grad for name, weight in model.named_parameters()})


def test_without_weight_it_is_joint(splits: Splits) -> None:
    assert_same(trained_weights(splits, MIDAS(misaligned_weight=0)), trained_weights(splits, Joint()))


def test_what_a_sample_lacks_is_not_swapped(splits: Splits) -> None:
    trainer, batch = small_trainer(splits, MIDAS()), with_gaps(first_batch(splits), m0=[1, 2])
    rows = torch.arange(16).flip(0)
    made = torch.ones(16, dtype=torch.bool)
    made[[1, 2, 13, 14]] = False
    trainer._num_rows = 16
    found = swapped(trainer, batch, Swap("m0", rows, made))
    assert torch.equal(found["m0"][[1, 2]], batch.inputs["m0"][[1, 2]])
    assert torch.equal(found["m0"][0], batch.inputs["m0"][15])
    assert found[f"m0{PRESENT}"].tolist() == batch.inputs[f"m0{PRESENT}"].tolist()
    assert torch.equal(found["m1"], batch.inputs["m1"])
    assert all(gradient.isfinite().all() for gradient in gradients(trainer, batch).values())


def test_a_batch_of_one_class_is_joint(splits: Splits) -> None:
    batch = first_batch(splits)
    batch = batch._replace(labels=torch.zeros_like(batch.labels))
    one, other = (gradients(small_trainer(splits, method), batch) for method in (MIDAS(), Joint()))
    assert_same(one, other)
