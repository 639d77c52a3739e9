"""A model judged on a split that it never saw."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import isnan

import numpy as np
import polars as pl

from bss.data.packed import PackedSplit
from bss.encoders.model import MultimodalModel
from bss.evaluation.metrics import classification_metrics, confusion_matrix
from bss.training.loop import split_evidence
from bss.training.methods.method import Method
from bss.training.runtime import Runtime, memory_explained


@dataclass(frozen=True)
class Judgement:
    """What evaluation found, for each output that the method trains."""

    metrics: Mapping[str, Mapping[str, float | None]]
    """Output -> metric -> value in [0, 1], None where a metric is not defined."""
    predictions: pl.DataFrame
    """One row a sample and output: id, label, output, prediction, probability of each class."""
    confusion: pl.DataFrame
    """One row a cell: output, label, prediction, num_samples."""


def judge(model: MultimodalModel, split: PackedSplit, method: Method, batch_size: int, runtime: Runtime) -> Judgement:
    """Metrics, predictions and confusion matrices of a model on a split."""
    runtime.prepare(model)
    with memory_explained("evaluate"):
        evidence = split_evidence(model, split, batch_size, runtime)
    outputs = method.judged(evidence.logits)
    probabilities = {output: evidence.logits[output].double().softmax(dim=1).numpy() for output in outputs}
    return Judgement(
        {output: _metrics(probabilities[output], split.labels) for output in outputs},
        pl.concat([_predictions(output, probabilities[output], split) for output in outputs]),
        pl.concat([_confusion(output, probabilities[output], split) for output in outputs]),
    )


def _metrics(probabilities: np.ndarray, labels: np.ndarray) -> dict[str, float | None]:
    metrics = classification_metrics(probabilities, labels)
    return {name: None if isnan(value) else value for name, value in metrics.items()}


def _predictions(output: str, probabilities: np.ndarray, split: PackedSplit) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "id": split.ids,
            "label": split.labels,
            "output": [output] * len(split),
            "prediction": probabilities.argmax(axis=1),
            "probabilities": probabilities,
        }
    )


def _confusion(output: str, probabilities: np.ndarray, split: PackedSplit) -> pl.DataFrame:
    num_classes = probabilities.shape[1]
    cells = confusion_matrix(probabilities.argmax(axis=1), split.labels, num_classes)
    label, prediction = np.indices(cells.shape).reshape(2, -1)
    return pl.DataFrame(
        {
            "output": [output] * cells.size,
            "label": label,
            "prediction": prediction,
            "num_samples": cells.ravel(),
        }
    )
