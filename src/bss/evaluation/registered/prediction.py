"""A registered model on data that it has never seen."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl
import torch

from bss.data.datasets._labels import as_text, is_none
from bss.data.packing.unpacked import Rows
from bss.encoders.encoder import ENCODERS
from bss.encoders.fusions.fusion import FUSIONS
from bss.errors import InputError
from bss.evaluation.judging.judgement import decided
from bss.evaluation.registered.card import CARD, Best, probability_columns, restored
from bss.evaluation.registered.weights import WEIGHTS
from bss.files import checksum, read_tensors
from bss.measure.evidence import collect
from bss.model import MultimodalModel, build_model
from bss.progress import progress
from bss.training.methods.method import METHODS, Method
from bss.training.runtime import Runtime, memory_explained
from bss.types import FUSED, JUDGED


@dataclass(frozen=True)
class Prediction:
    """The probabilities that a model gives to N samples of C classes."""

    ids: list[str]
    classes: tuple[str, ...]
    outputs: dict[str, np.ndarray]
    """Output -> probabilities (N, C); "judged" and "own" as `bss.evaluation.judging.judgement.decided` has them."""
    labels: list[str | None] | None
    """Class of each sample, None where the table does not name it; None for a table without labels."""

    @property
    def chosen(self) -> np.ndarray:
        """The output (N, C) that the rule of the model goes by."""
        return self.outputs[JUDGED if JUDGED in self.outputs else FUSED]

    @cached_property
    def winners(self) -> np.ndarray:
        """The most probable class (N,) of each sample by `chosen`, in [0, C)."""
        return np.asarray(self.chosen.argmax(axis=1))

    @property
    def table(self) -> pl.DataFrame:
        """A row a sample: id, prediction, and a column `OUTPUT_CLASS` for each probability."""
        named = [
            pl.Series("id", self.ids),
            pl.Series("prediction", [self.classes[winner] for winner in self.winners]),
        ]
        for (output, name), column in probability_columns(self.outputs, self.classes).items():
            named.append(pl.Series(column, self.outputs[output][:, self.classes.index(name)]))
        return pl.DataFrame(named)

    @property
    def num_labelled(self) -> int:
        """Samples whose class the table names."""
        return sum(label is not None for label in self.labels or ())

    @property
    def accuracy(self) -> dict[str, float] | None:
        """Share in [0, 1] of the samples with a label that are right, by output and as `prediction`; None without."""
        if self.labels is None or not self.num_labelled:
            return None
        known = [place for place, label in enumerate(self.labels) if label is not None]
        labels = np.array([self.classes.index(str(self.labels[place])) for place in known])
        right = {output: values[known].argmax(axis=1) == labels for output, values in self.outputs.items()}
        return {
            name: float(hits.mean()) for name, hits in {**right, "prediction": self.winners[known] == labels}.items()
        }


def predict(folder: Path, best: Best, rows: Rows, batch_size: int, device: str = "auto") -> Prediction:
    """Predict every row of a table with a registered model.

    Args:
        folder: where its weights lie.
        best: its description.
        rows: as `best.rows` opens them.
        batch_size: rows that are decoded and predicted at once; changes no result.
        device: `auto`, `cpu` or `cuda`.

    Raises:
        InputError: a value or a label of a row cannot be used; the message names it.
    """
    labels = _labels(rows, best.meta.classes)
    model, method = load(best, folder)
    runtime = Runtime.start(best.runtime.model_copy(update={"device": device}), model=model)
    runtime.prepare(model)
    with memory_explained("evaluate", "lower --batch-size"), runtime.autocast():
        evidence = collect(model, _batches(rows, batch_size, runtime))
    return Prediction(rows.ids, best.meta.classes, decided(evidence, method, best.rule, best.weights), labels)


def load(best: Best, folder: Path) -> tuple[MultimodalModel, Method]:
    """The trained model, and the method that trained it.

    Raises:
        InputError: the weights are damaged, or are not those of the description.
    """
    if checksum(folder / WEIGHTS) != best.sha256:
        raise InputError(f"{folder / WEIGHTS} is another file than the one that was registered; register again")
    encoders = {name: restored(ENCODERS, spec) for name, spec in best.encoders.items()}
    try:
        method: Method = restored(METHODS, best.training)
    except ValueError as error:  # not looked up by `Best`: register would have to run again for every new method
        raise InputError(f"{folder / CARD}: training: {' '.join(str(error).split())}") from None
    model = build_model(best.meta, encoders, best.seed, restored(FUSIONS, best.fusion))
    method.prepare_exported(model)
    try:
        model.load_state_dict(read_tensors(folder / WEIGHTS))
    except RuntimeError as error:
        message = " ".join(str(error).split())
        raise InputError(f"{folder / WEIGHTS} does not fit the description beside it: {message:.200}") from None
    return model, method


def _labels(rows: Rows, classes: tuple[str, ...]) -> list[str | None] | None:
    given = rows.role("label")
    if given is None:
        return None
    labels = [None if is_none(label) else label for label in as_text(given, "label", str(rows.origin))]
    for row, label in enumerate(labels, 1):
        if label is not None and label not in classes:
            known = ", ".join(classes)
            raise InputError(
                f"{rows.origin}, row {row}: the label '{label}' is none of the model's classes ({known})"
            )
    return labels


def _batches(rows: Rows, batch_size: int, runtime: Runtime) -> Iterator[tuple[dict[str, torch.Tensor], torch.Tensor]]:
    """Decoded rows on the device, with labels that mean nothing."""
    with progress(len(rows), "predict", "rows") as advance:
        for start in range(0, len(rows), batch_size):
            inputs = {name: torch.from_numpy(values) for name, values in rows.read(start, batch_size).items()}
            size = len(next(iter(inputs.values())))
            yield runtime.place(inputs, torch.zeros(size, dtype=torch.int64))
            advance(size)
