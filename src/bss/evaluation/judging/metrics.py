"""How well predictions meet labels: plain functions from arrays to numbers."""

import numpy as np
from numpy.typing import ArrayLike, NDArray


def classification_metrics(probabilities: ArrayLike, labels: ArrayLike) -> dict[str, float]:
    """Accuracy, balanced accuracy, macro F1, mean average precision and one-versus-one area under the ROC curve, each
    in [0, 1].

    Balanced accuracy (the share that is right), macro F1 and mean average precision are means over the classes that
    occur in `labels`, each against the rest; the area is the mean over their pairs (Hand and Till, 2001). A class
    that a split lacks counts neither way. With a single class there is nothing to rank, and both
    `mean_average_precision` and `auc` are nan.

    Args:
        probabilities: (N, C), in [0, 1].
        labels: (N,), integers in [0, C).

    Raises:
        ValueError: no sample, unequal lengths, a label out of range, a value outside [0, 1] or nan.
    """
    from sklearn.metrics import average_precision_score, f1_score

    probabilities = _checked_probabilities(probabilities)
    labels = _checked_labels("labels", labels, probabilities.shape[1])
    _check_lengths(probabilities, labels)
    predictions, present = probabilities.argmax(axis=1), np.unique(labels)
    is_class, scores = labels[:, None] == present, probabilities[:, present]
    return {
        "accuracy": float(np.mean(predictions == labels)),
        "balanced_accuracy": float(np.mean([np.mean(predictions[labels == name] == name) for name in present])),
        "macro_f1": float(f1_score(labels, predictions, labels=present, average="macro", zero_division=0)),
        "mean_average_precision": (
            float(average_precision_score(is_class, scores, average="macro")) if len(present) > 1 else float("nan")
        ),
        "auc": _one_versus_one_auc(probabilities, labels, present),
    }


def _one_versus_one_auc(
    probabilities: NDArray[np.float64], labels: NDArray[np.int64], present: NDArray[np.int64]
) -> float:
    """Mean over all ordered pairs of classes of how well the first's probability tells the two apart.

    Source: Hand and Till (2001). As scikit-learn's `multi_class="ovo"`, which takes no split that lacks a class.
    """
    counts = np.bincount(labels, minlength=probabilities.shape[1])
    areas = []
    for first in present:
        scores = probabilities[:, first]
        own = np.sort(scores[labels == first])
        # Twice the number of the class's samples that a sample is below, a tie counted half.
        beaten = 2 * len(own) - np.searchsorted(own, scores, "left") - np.searchsorted(own, scores, "right")
        won = np.bincount(labels, beaten, minlength=len(counts))
        areas += [won[second] / (2 * len(own) * counts[second]) for second in present if second != first]
    return float(np.mean(areas)) if areas else float("nan")


def confusion_matrix(predictions: ArrayLike, labels: ArrayLike, num_classes: int) -> NDArray[np.int64]:
    """Number of samples (C, C) by true class (rows) and predicted class (columns).

    Args:
        predictions: (N,), integers in [0, C).
        labels: (N,), integers in [0, C).
        num_classes: C.

    Raises:
        ValueError: unequal lengths, or a class out of range.
    """
    predictions = _checked_labels("predictions", predictions, num_classes)
    labels = _checked_labels("labels", labels, num_classes)
    _check_lengths(predictions, labels)
    cells = np.bincount(labels * num_classes + predictions, minlength=num_classes**2)
    return cells.reshape(num_classes, num_classes)


def detection_auc(scores: ArrayLike, damaged: ArrayLike) -> float:
    """Probability in [0, 1] that a damaged sample scores below an intact one; a tie counts half.

    0.5 is chance, 1 means that every damaged sample lies below every intact one. nan where all samples are
    damaged, or none.

    Args:
        scores: (N,) balance scores, larger = more balanced.
        damaged: (N,) flags.

    Raises:
        ValueError: unequal lengths, or a score that is nan or infinite.
    """
    from sklearn.metrics import roc_auc_score

    scores, damaged = np.asarray(scores, dtype=float), np.asarray(damaged, dtype=bool)
    _check_lengths(scores, damaged)
    if damaged.all() or not damaged.any():
        return float("nan")
    return float(roc_auc_score(damaged, -scores))


def _checked_probabilities(values: ArrayLike) -> NDArray[np.float64]:
    values = np.asarray(values, dtype=float)
    if values.ndim != 2 or 0 in values.shape:
        raise ValueError(f"probabilities have shape {values.shape}, and should be (N, C) with N, C >= 1")
    wrong = np.argwhere(~((values >= 0) & (values <= 1 + 1e-6)))  # a weighted mean may round above 1
    if len(wrong):
        row, column = wrong[0]
        raise ValueError(
            f"{len(wrong)} probabilities lie outside [0, 1] or are nan, the first is {values[row, column]} "
            f"in row {row}, class {column}; pass softmax outputs, not logits"
        )
    return values


def _checked_labels(name: str, values: ArrayLike, num_classes: int) -> NDArray[np.int64]:
    values = np.asarray(values)
    if values.ndim != 1 or not (np.issubdtype(values.dtype, np.integer) or not values.size):
        raise ValueError(f"{name} are {values.dtype} of shape {values.shape}, and should be (N,) integers")
    wrong = np.flatnonzero((values < 0) | (values >= num_classes))
    if wrong.size:
        raise ValueError(
            f"{name} are classes 0 to {num_classes - 1}, and that of row {wrong[0]} is {values[wrong[0]]} "
            f"({wrong.size} rows are wrong)"
        )
    return values.astype(np.int64)


def _check_lengths(first: NDArray[np.generic], second: NDArray[np.generic]) -> None:
    if len(first) != len(second):
        raise ValueError(f"{len(first)} rows against {len(second)}: both should be of the same samples")
