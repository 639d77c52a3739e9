"""The curves of a training: what an epoch has to show, and the loggers that show it."""

import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
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


LOG = logging.getLogger(__name__)


class LiveCurves:
    """The loggers of one training, for a block; they are opened when it has its first epoch to show.

    Curves are no results: a logger that fails, as for a full disk or a server that is gone, is left out from then on
    with one warning, and the training goes on.

    Args:
        loggers: where it is shown; none is well.
        folder: gets a folder a logger.
        training: its name.
    """

    def __init__(self, loggers: Sequence[Logger], folder: Path, training: str) -> None:
        self._loggers, self._folder, self._training = list(loggers), folder, training
        self._writers: dict[str, Writer] = {}

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
        numbers = {**of_outputs(rows), **draws_by_class(train.labels[drawn], train.meta.classes)}
        numbers |= {"lr": rows[0]["lr"], "samples_per_second": samples_per_second}
        finite = {name: float(value) for name, value in numbers.items() if isfinite(value)}
        scores = sampler.scores
        measured = Measured(epoch, finite, {"balance_score": scores} if np.ptp(scores) else {})
        for logger in [*self._loggers]:
            with self._left_out_if_it_fails(logger):
                if logger.name not in self._writers:
                    folder = self._folder / logger.name
                    self._writers[logger.name] = logger.open(folder, self._training, epoch)
                self._writers[logger.name].write(measured)

    @contextmanager
    def _left_out_if_it_fails(self, logger: Logger) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            self._loggers.remove(logger)
            self._writers.pop(logger.name, None)
            # Of a disk or a network a line says all; anything else may be a fault of ours.
            LOG.warning(
                "warning: flow.log: '%s' shows this training no longer, which goes on (%s: %.200s); see that its "
                "disk has room and its server answers, or take it out of flow.log",
                logger.name,
                type(error).__name__,
                " ".join(str(error).split()),
                exc_info=None if _is_of_the_system(error) else error,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        for logger in [*self._loggers]:
            if logger.name in self._writers:
                with self._left_out_if_it_fails(logger):
                    self._writers[logger.name].close(failed=kind is not None)


def _is_of_the_system(error: BaseException | None) -> bool:
    """Whether it, or what it came of, is an error of a file or of the network."""
    while error is not None and not isinstance(error, OSError):
        error = error.__cause__ or error.__context__
    return error is not None


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
