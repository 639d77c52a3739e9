"""The least that a model has to beat: always naming the class that is most frequent in training."""

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

RUN = ("method", "scheduler", "seed", "output")


@dataclass(frozen=True)
class Majority:
    """The majority class, and what it reaches on the test split."""

    class_name: str
    accuracy: float
    """In [0, 1]."""
    balanced_accuracy: float
    """In [0, 1]: one class of those in the test split is always right, the others never."""
    macro_f1: float
    """In [0, 1]: the mean over the classes of the test split, of which one alone is ever named."""

    @property
    def name(self) -> str:
        """The name of its row."""
        return "majority class"


def majority_class(labels: pl.Series, predictions: pl.DataFrame, classes: Sequence[str]) -> Majority:
    """The most frequent class of the training split; of several the one that is right most often on the test split.

    Args:
        labels: of the training pairs, (N,), in [0, C).
        predictions: on the test split, a row a run, pair and output.
        classes: C names.
    """
    test = predictions.join(predictions.head(1).select(RUN), on=RUN, how="semi")["label"]
    in_test = dict(test.value_counts().iter_rows())
    counts = labels.value_counts().sort("label")
    most = counts.filter(pl.col("count") == pl.col("count").max())["label"]
    label = max(most, key=lambda one: in_test.get(one, 0))
    share, num_classes = in_test.get(label, 0) / max(len(test), 1), max(len(in_test), 1)
    return Majority(classes[label], share, (share > 0) / num_classes, 2 * share / (1 + share) / num_classes)
