import math

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from bss.evaluation.judging.metrics import classification_metrics, confusion_matrix, detection_auc


def random_case(num_samples: int, num_classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(num_classes, size=num_samples)
    logits = rng.normal(size=(num_samples, num_classes)) + 1.5 * np.eye(num_classes)[labels]
    return np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True), labels


def slow_average_precision(scores: list[float], positive: list[bool]) -> float:
    ranked = sorted(zip(scores, positive, strict=True), reverse=True)
    hits, total = 0, 0.0
    for rank, (_, is_positive) in enumerate(ranked, start=1):
        if is_positive:
            hits += 1
            total += hits / rank
    return total / hits


def slow_auc(scores: list[float], positive: list[bool]) -> float:
    above = [a for a, p in zip(scores, positive, strict=True) if p]
    below = [b for b, p in zip(scores, positive, strict=True) if not p]
    wins = sum((a > b) + 0.5 * (a == b) for a in above for b in below)
    return wins / (len(above) * len(below))


def slow_f1(predictions: np.ndarray, labels: np.ndarray, label: int) -> float:
    hits = sum((predictions == label) & (labels == label))
    return float(2 * hits / (sum(predictions == label) + sum(labels == label)))


def slow_one_versus_one_auc(probabilities: np.ndarray, labels: np.ndarray) -> float:
    areas = []
    for first in set(labels.tolist()):
        for second in set(labels.tolist()) - {first}:
            rows = [row for row, label in enumerate(labels) if label in {first, second}]
            areas.append(
                slow_auc([probabilities[row, first] for row in rows], [labels[row] == first for row in rows])
            )
    return sum(areas) / len(areas)


def slow_metrics(probabilities: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    predictions = np.array([row.tolist().index(max(row)) for row in probabilities])
    present = sorted(set(labels.tolist()))
    ranked = [(probabilities[:, c].tolist(), (labels == c).tolist()) for c in present]
    return {
        "accuracy": sum(predictions == labels) / len(labels),
        "balanced_accuracy": sum(sum((predictions == c) & (labels == c)) / sum(labels == c) for c in present)
        / len(present),
        "macro_f1": sum(slow_f1(predictions, labels, c) for c in present) / len(present),
        "mean_average_precision": sum(slow_average_precision(*r) for r in ranked) / len(present),
        "auc": slow_one_versus_one_auc(probabilities, labels),
    }


@pytest.mark.parametrize("num_classes", [2, 3, 10])
def test_metrics_equal_the_slow_reference(num_classes: int) -> None:
    probabilities, labels = random_case(80, num_classes)
    assert classification_metrics(probabilities, labels) == pytest.approx(slow_metrics(probabilities, labels))


def test_the_area_is_scikit_learns_one_versus_one() -> None:
    probabilities, labels = random_case(200, 4)
    few = (labels != 1) | (np.arange(200) % 5 == 0)
    expected = roc_auc_score(labels[few], probabilities[few], multi_class="ovo")
    assert classification_metrics(probabilities[few], labels[few])["auc"] == pytest.approx(expected)
    assert expected != pytest.approx(roc_auc_score(labels[few], probabilities[few], multi_class="ovr"), abs=1e-4)


def test_a_class_that_the_split_lacks_counts_neither_way() -> None:
    probabilities, labels = random_case(60, 5)
    keep = labels != 2
    found = classification_metrics(probabilities[keep], labels[keep])
    assert found == pytest.approx(slow_metrics(probabilities[keep], labels[keep]))
    assert all(0 <= value <= 1 for value in found.values())


def test_perfect_predictions_score_one() -> None:
    assert set(classification_metrics(np.eye(4), np.arange(4)).values()) == {1.0}


def test_where_one_class_is_all_there_is_nothing_is_ranked() -> None:
    found = classification_metrics([[0.3, 0.7], [0.6, 0.4]], [1, 1])
    assert math.isnan(found.pop("auc")) and math.isnan(found.pop("mean_average_precision"))
    assert found == pytest.approx({"accuracy": 0.5, "balanced_accuracy": 0.5, "macro_f1": 2 / 3})


@pytest.mark.parametrize(
    ("probabilities", "labels", "words"),
    [
        ([[0.5, np.nan]], [0], "nan in row 0, class 1"),
        ([[0.5, 0.5], [3.0, -2.0]], [0, 1], "softmax outputs, not logits"),
        ([[0.5, 0.5]], [2], "classes 0 to 1, and that of row 0 is 2"),
        ([[0.5, 0.5]], [-1], "is -1"),
        ([[0.5, 0.5]], [0.0], "integers"),
        ([[0.5, 0.5]], [0, 1], "1 rows against 2"),
        ([0.5, 0.5], [0, 1], r"shape \(2,\)"),
        (np.empty((0, 3)), np.empty(0, dtype=int), r"shape \(0, 3\)"),
    ],
)
def test_bad_input_is_named(probabilities: list[list[float]], labels: list[int], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        classification_metrics(probabilities, labels)


def test_confusion_counts_true_class_by_row() -> None:
    rng = np.random.default_rng(1)
    predictions, labels = rng.integers(4, size=50), rng.integers(4, size=50)
    expected = np.zeros((4, 4), dtype=int)
    for prediction, label in zip(predictions, labels, strict=True):
        expected[label, prediction] += 1
    np.testing.assert_array_equal(confusion_matrix(predictions, labels, 4), expected)


def test_confusion_refuses_classes_out_of_range() -> None:
    with pytest.raises(ValueError, match="predictions are classes 0 to 2"):
        confusion_matrix([3], [0], 3)
    with pytest.raises(ValueError, match="1 rows against 2"):
        confusion_matrix([1], [0, 1], 3)


def test_detection_looks_for_low_scores() -> None:
    scores, damaged = np.array([0.1, 0.2, 0.2, 0.9, -0.5]), np.array([True, False, True, False, True])
    assert detection_auc(scores, damaged) == pytest.approx(slow_auc((-scores).tolist(), damaged.tolist()))
    assert detection_auc([0.0, 1.0], [True, False]) == 1.0
    assert math.isnan(detection_auc([0.0, 1.0], [False, False]))
