"""A model judged on a split that it never saw."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import isnan
from typing import Any

import numpy as np
import polars as pl

from bss.data.packed import PackedSplit
from bss.errors import InputError
from bss.evaluation.judging.equilibrium import equilibrium
from bss.evaluation.judging.linear_probe import linear_probe
from bss.evaluation.judging.metrics import classification_metrics, confusion_matrix
from bss.evaluation.judging.rule import best_weights, summed, weighted_mean
from bss.measure.evidence import Evidence
from bss.model import MultimodalModel
from bss.training.loop import split_evidence
from bss.training.methods.method import Method
from bss.training.runtime import Runtime, memory_explained
from bss.types import FUSED, JUDGED, OWN


@dataclass(frozen=True)
class Judgement:
    """Metrics and predictions on one split, for each output that the method trains.

    There are two more outputs: "judged" where another rule than the fusion's makes the multimodal prediction, and
    "own" where the method has a rule of its own.
    """

    metrics: Mapping[str, Mapping[str, float | None]]
    """Output -> metric -> value in [0, 1], None where a metric is not defined."""
    predictions: pl.DataFrame
    """One row a sample and output: id, label, output, prediction, probability of each class."""
    confusion: pl.DataFrame
    """One row a cell: output, label, prediction, num_samples."""
    rule: Mapping[str, Any]
    """`rule`, the one whose multimodal prediction counts, and `weights`, those of the modalities where the rule has
    chosen some. Empty where the method fuses nothing."""
    equilibrium: Mapping[str, Any]
    """How evenly the modalities contribute, see `equilibrium`; empty where nothing is fused."""
    probes: Mapping[str, Any]
    """`linear_probe`, see the function of that name; empty where none was asked for."""


def judge(
    model: MultimodalModel,
    split: PackedSplit,
    method: Method,
    batch_size: int,
    runtime: Runtime,
    rule: str = FUSED,
    validation: PackedSplit | None = None,
    train: PackedSplit | None = None,
) -> Judgement:
    """Metrics, predictions and confusion matrices of a model on a split.

    Args:
        model: trained.
        split: what it is judged on.
        method: that trained it.
        batch_size: of the pass over a split; changes no result.
        runtime: where it runs.
        rule: see `Evaluate.rule`.
        validation: the split that the rule `weighted` chooses its weights on.
        train: the split that linear probes are fitted on; without it there are none.
    """
    runtime.prepare(model)
    evidence = _evidence(model, split, batch_size, runtime)
    outputs = probabilities(evidence, method)
    applied: dict[str, Any] = {"rule": rule} if FUSED in outputs else {}
    if applied and rule == "weighted":
        if validation is None:
            raise InputError("evaluate.rule: weighted chooses its weights on the validation split, and got none")
        on_validation = probabilities(_evidence(model, validation, batch_size, runtime), method)
        applied["weights"] = best_weights(_of_modalities(on_validation), validation.labels)
    probes = {}
    if train is not None:
        probes["linear_probe"] = linear_probe(_evidence(model, train, batch_size, runtime), evidence)
    outputs = decided(evidence, method, rule, applied.get("weights"))
    return Judgement(
        {output: _metrics(values, split.labels) for output, values in outputs.items()},
        pl.concat([_predictions(output, values, split) for output, values in outputs.items()]),
        pl.concat([_confusion(output, values, split) for output, values in outputs.items()]),
        applied,
        equilibrium(model, evidence, runtime) if applied else {},
        probes,
    )


def _evidence(model: MultimodalModel, split: PackedSplit, batch_size: int, runtime: Runtime) -> Evidence:
    with memory_explained("evaluate"):
        return split_evidence(model, split, batch_size, runtime)


def probabilities(evidence: Evidence, method: Method) -> dict[str, np.ndarray]:
    """Output that the method trains -> (N, C)."""
    logits = evidence.logits
    return {output: logits[output].double().softmax(dim=1).numpy() for output in method.judged(logits)}


def decided(
    evidence: Evidence, method: Method, rule: str, weights: Mapping[str, float] | None = None
) -> dict[str, np.ndarray]:
    """The outputs (N, C) with what is made of them: "judged" by another rule than the fusion's, "own" by the method.

    Args:
        evidence: of the samples.
        method: that trained the model.
        rule: see `Evaluate.rule`.
        weights: modality -> its weight, of the rule `weighted`.
    """
    trained = probabilities(evidence, method)
    outputs, modalities = dict(trained), _of_modalities(trained)
    if FUSED in trained and weights is not None:
        outputs[JUDGED] = weighted_mean(trained, weights)
    elif FUSED in trained and rule != FUSED:
        outputs[JUDGED] = summed((trained if rule == "sum_all" else modalities).values())
    logits = {name: evidence.logits[name].double().numpy() for name in modalities}
    if (own := method.decide(modalities, logits)) is not None:
        outputs[OWN] = own
    return outputs


def _of_modalities(outputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: values for name, values in outputs.items() if name != FUSED}


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
