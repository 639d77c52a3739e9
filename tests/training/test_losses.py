"""Class weights: the formula, and that every method's loss has them."""

from math import exp, log

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight
from torch.nn import functional

from bss.training.losses import balanced_weights, class_weighted, cross_entropy, sample_weights

LABELS = np.array([0] * 70 + [1] * 25 + [3] * 5)
LOGITS = torch.tensor([[2.0, 0.0, -1.0], [0.5, 0.5, 0.5], [-3.0, 1.0, 2.0]])
CLASSES = torch.tensor([0, 2, 1])


def test_balanced_weights_are_those_of_scikit_learn() -> None:
    weights = balanced_weights(LABELS, 4)
    assert weights[[0, 1, 3]].tolist() == pytest.approx(
        compute_class_weight("balanced", classes=np.array([0, 1, 3]), y=LABELS).tolist()
    )
    assert weights[2] == 0  # no sample
    assert weights[LABELS].mean() == pytest.approx(1)
    sums = [float(weights[LABELS][name == LABELS].sum()) for name in (0, 1, 3)]
    assert sums == pytest.approx([100 / 3] * 3)


def test_each_sample_counts_by_its_class() -> None:
    weights = torch.tensor([0.5, 3.0, 0.0])
    rows = zip(LOGITS.tolist(), CLASSES.tolist(), strict=True)
    slow = [weights[label].item() * (log(sum(map(exp, row))) - row[label]) for row, label in rows]
    with class_weighted(weights):
        assert cross_entropy(LOGITS, CLASSES, reduction="none").tolist() == pytest.approx(slow)
        assert float(cross_entropy(LOGITS, CLASSES)) == pytest.approx(sum(slow) / 3)
    assert torch.equal(cross_entropy(LOGITS, CLASSES), functional.cross_entropy(LOGITS, CLASSES))


def test_a_fault_inside_leaves_no_weights_behind() -> None:
    with pytest.raises(RuntimeError), class_weighted(torch.zeros(3)):
        raise RuntimeError
    assert float(cross_entropy(LOGITS, CLASSES)) > 0


def test_weights_of_samples_are_those_of_their_classes() -> None:
    assert sample_weights(CLASSES).tolist() == [1, 1, 1]
    with class_weighted(torch.tensor([0.5, 3.0, 0.0])):
        assert sample_weights(CLASSES).tolist() == [0.5, 0, 3]
