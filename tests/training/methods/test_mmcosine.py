"""Cosines in place of dot products."""

from itertools import combinations
from math import exp, log, sqrt
from typing import Any

import pytest
import torch

from bss.training.methods.mmcosine import MMCosine, contrast, unit
from tests.helpers.gaps import with_gaps
from tests.helpers.steps import Splits, assert_close, first_batch, gradients, small_trainer


def cosine(one: list[float], other: list[float]) -> float:
    lengths = [sqrt(sum(value**2 for value in values)) for values in (one, other)]
    return sum(a * b for a, b in zip(one, other, strict=True)) / (lengths[0] * lengths[1]) if all(lengths) else 0.0


def test_a_sample_by_hand() -> None:
    heads = {"a": [[1.0, 0], [0, 2], [1, 1]], "v": [[0.5, 0.5], [-1, 0], [0, 3]]}
    features = {"a": [3.0, 4.0], "v": [1.0, -1.0]}
    found = {m: unit(torch.tensor([features[m]])) @ unit(torch.tensor(rows)).T for m, rows in heads.items()}
    assert found["a"][0].tolist() == pytest.approx([0.6, 0.8, 0.989949], abs=1e-6)
    assert found["v"][0].tolist() == pytest.approx([0, -0.707107, -0.707107], abs=1e-6)
    fused = 10 * (found["a"] + found["v"])
    assert fused[0].tolist() == pytest.approx([6, 0.928932, 2.828427], abs=1e-5)
    assert float(MMCosine().loss({"fused": fused}, torch.tensor([1]))) == pytest.approx(5.118155, abs=1e-5)


def test_the_fused_loss_of_a_model_is_the_slow_one(splits: Splits) -> None:
    batch, trainer = first_batch(splits), small_trainer(splits, MMCosine(scale=3, unimodal_weight=0))
    model: Any = trainer.model.eval()
    with torch.no_grad():
        outputs = model(batch.inputs)
        loss = float(trainer.method.loss(outputs.logits, batch.labels))
    total = 0.0
    for row, label in enumerate(batch.labels.tolist()):
        z = [
            3
            * sum(
                cosine(features[row].tolist(), model.fusion.parts[name].weight[c].tolist())
                for name, features in outputs.features.items()
            )
            for c in range(3)
        ]
        total -= log(exp(z[label]) / sum(map(exp, z)))
    assert loss == pytest.approx(total / len(batch.labels), rel=1e-5)


def test_lengths_say_nothing(splits: Splits) -> None:
    batch, trainer = first_batch(splits), small_trainer(splits, MMCosine())
    model: Any = trainer.model.eval()
    before = model(batch.inputs).logits["fused"]
    with torch.no_grad():
        model.fusion.parts["m0"].weight.mul_(torch.tensor([[0.01], [3.0], [1000.0]]))
    assert torch.allclose(model(batch.inputs).logits["fused"], before, atol=1e-4)


@pytest.mark.parametrize("size", [0.0, 1e-20, 1e15])
def test_vectors_of_any_length_have_a_finite_gradient(size: float) -> None:
    rows = torch.full((2, 4), size, requires_grad=True)
    unit(rows)[:, 0].sum().backward()
    assert rows.grad is not None
    assert rows.grad.isfinite().all()
    assert unit(rows).norm(dim=1).tolist() == pytest.approx([float(size > 0)] * 2, abs=1e-4)


def test_what_a_sample_lacks_adds_nothing(splits: Splits) -> None:
    trainer, batch = small_trainer(splits, MMCosine()), with_gaps(first_batch(splits), m0=[1, 2])
    outputs = trainer.model.eval()(batch.inputs)
    others = {name: values[[1, 2]] for name, values in outputs.features.items()}
    fusion: Any = trainer.model.fusion
    others["m0"] = torch.zeros_like(others["m0"])
    assert torch.allclose(outputs.logits["fused"][[1, 2]], fusion(others), atol=1e-6)
    assert all(gradient.isfinite().all() for gradient in gradients(trainer, batch).values())


def slow_contrast(features: list[list[list[float]]], labels: list[int], temperature: float) -> float:
    """Pair by pair of modalities, sample by sample; `features` has [modality][sample][number]."""
    pairs = []
    for one, other in combinations(features, 2):
        rows = [i for i in range(len(labels)) if any(one[i]) and any(other[i])]
        costs = []
        for i in rows:
            near = {j: exp(cosine(one[i], other[j]) / temperature) for j in rows}
            p = {j: value / sum(near.values()) for j, value in near.items()}
            same = [-log(p[j]) for j in rows if labels[j] == labels[i]]
            others = [-log(1 - p[j]) for j in rows if labels[j] != labels[i]]
            costs.append(sum(same) / len(same) + (sum(others) / len(others) if others else 0))
        pairs.append(sum(costs) / len(costs))
    return sum(pairs) / len(pairs)


@pytest.mark.parametrize("number", [2, 3, 6])
@pytest.mark.parametrize("classes", [1, 3])
def test_the_contrast_equals_its_slow_reference(number: int, classes: int) -> None:
    features = torch.randn(number, 9, 4, generator=torch.Generator().manual_seed(number))
    features[0, 2] = 0  # this sample lacks the first modality
    labels = torch.arange(9) % classes
    named = {f"m{m}": rows for m, rows in enumerate(features)}
    found = float(contrast(named, labels, 0.5))
    assert found == pytest.approx(slow_contrast(features.tolist(), labels.tolist(), 0.5), rel=1e-4)


def test_the_contrast_by_hand() -> None:
    """Two samples of two classes: p is 1 / (1 + exp(-1 / t)) for the own partner."""
    rows = torch.eye(2)
    p = 1 / (1 + exp(-2))
    assert float(contrast({"a": rows, "v": rows}, torch.tensor([0, 1]), 0.5)) == pytest.approx(-2 * log(p), rel=1e-5)
    alike = float(contrast({"a": rows, "v": rows}, torch.tensor([0, 0]), 0.5))
    assert alike == pytest.approx(-(log(p) + log(1 - p)) / 2, rel=1e-5)
    assert float(contrast({"a": rows, "v": torch.zeros(2, 2)}, torch.tensor([0, 1]), 0.5)) == 0


def test_a_certain_contrast_has_a_finite_gradient() -> None:
    rows = torch.eye(3).requires_grad_()
    loss = contrast({"a": rows, "v": rows.roll(1, 0)}, torch.arange(3), 1e-3)
    loss.backward()
    assert loss.isfinite()
    assert rows.grad is not None
    assert rows.grad.isfinite().all()


def test_a_step_adds_the_contrast_of_features_of_one_width(splits: Splits) -> None:
    batch = first_batch(splits)
    with_contrast, without = (
        small_trainer(splits, MMCosine(contrast_weight=weight, temperature=0.3)) for weight in (2.0, 0.0)
    )
    model: Any = with_contrast.model
    outputs = model.train()(batch.inputs)
    assert len({values.shape[1] for values in outputs.features.values()}) == 1
    widths = {values.shape[1] for values in without.model(batch.inputs).features.values()}
    assert len(widths) > 1, "they stay as they are where nothing compares them"
    loss = with_contrast.method.loss(outputs.logits, batch.labels)
    (loss + 2 * contrast(outputs.features, batch.labels, 0.3)).backward()
    expected = {name: weight.grad.clone() for name, weight in model.named_parameters()}
    assert all(bool(expected[f"branches.{name}.encoder.1.weight"].any()) for name in list(model.branches)[:-1])
    model.zero_grad()
    assert_close(gradients(with_contrast, batch), expected)
