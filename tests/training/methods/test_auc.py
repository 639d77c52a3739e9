"""The surrogates of the multiclass AUC: golden values, and the fast forms against pair by pair."""

from itertools import permutations
from math import exp
from typing import Any

import pytest
import torch
from torch import Tensor

from bss.evaluation.judging.metrics import classification_metrics
from bss.training.methods.auc import AUC
from bss.training.methods.joint import Joint

SCORES = torch.tensor(
    [[0.7, 0.2, 0.1], [0.4, 0.4, 0.2], [0.3, 0.5, 0.2], [0.2, 0.3, 0.5], [0.5, 0.3, 0.2], [0.1, 0.1, 0.8]]
).double()
LABELS = torch.tensor([0, 0, 1, 1, 1, 2])
SURROGATES = ("square", "exp", "hinge")
GOLDEN = {1.0: (0.234028, 0.719098, 0.641667), 0.3: (0.029861, 0.900368, 0.072222)}


def naive(surrogate: str, margin: float, scores: Tensor, labels: Tensor) -> float:
    of_pair = {
        "square": lambda t: (margin - t) ** 2 / 2, "exp": lambda t: exp(-margin * t),
        "hinge": lambda t: max(0.0, margin - t),
    }[surrogate]  # fmt: skip
    classes = sorted(set(labels.tolist()))
    means = []
    for first, second in permutations(classes, 2):
        gaps = [
            of_pair((scores[a, first] - scores[b, first]).item())
            for a in range(len(labels)) for b in range(len(labels))
            if labels[a] == first and labels[b] == second
        ]  # fmt: skip
        means.append(sum(gaps) / len(gaps))
    return sum(means) / len(means) if means else 0.0


@pytest.mark.parametrize("margin", GOLDEN)
@pytest.mark.parametrize("place", range(3))
def test_the_golden_risks(margin: float, place: int) -> None:
    method = AUC(surrogate=SURROGATES[place], margin=margin)
    assert method.risk(SCORES, LABELS).item() == pytest.approx(GOLDEN[margin][place], abs=1e-6)
    assert naive(SURROGATES[place], margin, SCORES, LABELS) == pytest.approx(GOLDEN[margin][place], abs=1e-6)


def test_the_golden_gradient_and_the_metric_that_it_stands_for() -> None:
    scores = SCORES.clone().requires_grad_()
    (6 * AUC().risk(scores, LABELS)).backward()
    expected = [
        [-0.086111, 0.069444, 0.025], [-0.136111, 0.086111, 0.033333], [0.041667, -0.077778, 0.022222],
        [0.036111, -0.1, 0.038889], [0.052778, -0.1, 0.022222], [0.091667, 0.122222, -0.141667],
    ]  # fmt: skip
    assert scores.grad is not None
    assert (scores.grad / 6).flatten().tolist() == pytest.approx(
        [value for row in expected for value in row], abs=1e-6
    )
    assert classification_metrics(SCORES.numpy(), LABELS.numpy())["auc"] == pytest.approx(0.916667, abs=1e-6)


@pytest.mark.parametrize("surrogate", SURROGATES)
@pytest.mark.parametrize("num_classes", [2, 5, 9])
def test_the_fast_forms_are_pair_by_pair(surrogate: Any, num_classes: int) -> None:
    generator = torch.Generator().manual_seed(num_classes)
    scores = torch.rand(23, num_classes, generator=generator).double().softmax(dim=1)
    labels = torch.randint(max(1, num_classes - 1), (23,), generator=generator)  # the last class is not there
    for margin in (0.2, 1.0):
        found = AUC(surrogate=surrogate, margin=margin).risk(scores, labels).item()
        assert found == pytest.approx(naive(surrogate, margin, scores, labels), abs=1e-12)


@pytest.mark.parametrize("surrogate", SURROGATES)
def test_a_batch_of_one_class_has_no_risk(surrogate: Any) -> None:
    scores = SCORES.clone().requires_grad_()
    risk = AUC(surrogate=surrogate).risk(scores, torch.ones(6, dtype=torch.int64))
    risk.backward()
    assert risk.item() == 0
    assert scores.grad is not None
    assert not scores.grad.any()


def test_without_weight_it_is_joint_and_with_it_the_risks_are_added() -> None:
    logits = {"a": SCORES.log() * 2, "v": SCORES.log(), "fused": SCORES.log() * 3}
    joint = Joint(fused_weight=0.5).loss(logits, LABELS)
    assert torch.equal(AUC(fused_weight=0.5, weight=0).loss(logits, LABELS), joint)
    risks = {name: naive("square", 1.0, values.softmax(dim=1), LABELS) for name, values in logits.items()}
    expected = joint.item() * 0.25 + 2 * (risks["a"] + risks["v"] + 0.5 * risks["fused"])
    found = AUC(fused_weight=0.5, weight=2, cross_entropy=0.25).loss(logits, LABELS)
    assert found.item() == pytest.approx(expected)
