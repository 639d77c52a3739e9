"""The curves of a training: what an epoch has to show, and the loggers that show it."""

import re
from collections.abc import Sequence
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from bss.measure.discrepancy import discrepancy_ratio
from bss.training.loggers.logger import Logger, Measured, Writer
from bss.types import FUSED

if TYPE_CHECKING:
    from bss.curriculum.sampler import CurriculumSampler
    from bss.data.packed import PackedSplit


class LiveCurves:
    """The loggers of one training, for a block; they are opened when it has its first epoch to show.

    Args:
        loggers: where it is shown; none is well.
        folder: gets a folder a logger.
        training: its name.
    """

    def __init__(self, loggers: Sequence[Logger], folder: Path, training: str) -> None:
        self._loggers, self._folder, self._training = loggers, folder, training
        self._writers: list[Writer] = []

    def write(
        self,
        rows: Sequence[dict[str, Any]],
        sampler: "CurriculumSampler",
        train: "PackedSplit",
        drawn: np.ndarray,
        samples_per_second: float,
    ) -> None:
        """Show an epoch.

        Args:
            rows: of the history, one an output.
            sampler: before its `end_epoch`.
            train: the training split.
            drawn: (n,), the samples of the epoch.
            samples_per_second: of its steps.
        """
        if not self._loggers:
            return
        epoch = rows[0]["epoch"]
        if not self._writers:
            for logger in self._loggers:  # one by one: where one cannot be opened, those before it are closed
                self._writers.append(logger.open(self._folder / logger.name, self._training, epoch))
        numbers = {**of_outputs(rows), **draws_by_class(train.labels[drawn], train.meta.classes)}
        numbers |= {"lr": rows[0]["lr"], "samples_per_second": samples_per_second}
        finite = {name: float(value) for name, value in numbers.items() if isfinite(value)}
        scores = sampler.scores
        measured = Measured(epoch, finite, {"balance_score": scores} if np.ptp(scores) else {})
        for writer in self._writers:
            writer.write(measured)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        for writer in self._writers:
            writer.close(failed=kind is not None)


def of_outputs(rows: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Losses and accuracy of each output; each modality's `discrepancy_ratio` on validation, if two are trained."""
    columns = ("train_loss", "validation_loss", "validation_accuracy")
    numbers = {f"{column}/{row['output']}": row[column] for column in columns for row in rows}
    sure = {row["output"]: row["validation_confidence"] for row in rows if row["output"] != FUSED}
    if len(sure) > 1:
        confidence = np.array(list(sure.values()))
        with np.errstate(divide="ignore", invalid="ignore"):  # what is not finite is not shown
            ratios = discrepancy_ratio(confidence, confidence.sum(), len(sure))
        numbers |= {f"discrepancy_ratio/{name}": float(ratio) for name, ratio in zip(sure, ratios, strict=True)}
    return numbers


def draws_by_class(labels: np.ndarray, classes: Sequence[str]) -> dict[str, float]:
    """How many samples of each class an epoch drew; names that loggers could not tell apart begin with a number."""
    names = [re.sub(r"[^\w .-]", "_", name) for name in classes]
    if len(set(names)) < len(names):
        names = [f"{number} {name}" for number, name in enumerate(names)]
    counts = np.bincount(labels, minlength=len(names))
    return {f"draws/{name}": int(count) for name, count in zip(names, counts, strict=True)}
