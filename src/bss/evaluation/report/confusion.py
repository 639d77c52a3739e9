"""Which class is taken for which: a matrix a run, summed over its seeds."""

from collections.abc import Sequence

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from numpy.typing import NDArray

from bss.evaluation.grid.inputs import ReportInputs
from bss.evaluation.grid.looks import Look
from bss.evaluation.judging.metrics import confusion_matrix
from bss.evaluation.page.canvas import INK, Chart, canvas, finish
from bss.evaluation.page.section import Charts, Prose, Section
from bss.evaluation.page.words import listed, shortened
from bss.types import FUSED
from bss.wording import counted

PLACE = 90
MAX_NAMED = 12
"""Up to so many classes the cells hold numbers and the axes names; then the axes number the classes."""
SHADE = (0.12, 0.53, 0.82)
"""A blue that shows on white and on black; how opaque it is says how often."""
MAX_OPACITY = 0.65
"""The largest opacity at which a number can be read on the shade."""


def section(inputs: ReportInputs) -> Section:
    """A matrix a run."""
    note = (
        "Fused predictions on the test split, summed over seeds. Rows are true classes; the stronger the blue, the "
        "larger the share of the row."
    )
    charts = confusion_charts(inputs.predictions, inputs.looks, inputs.classes)
    return Section("Confusion", [Prose([note]), Charts(charts)])


def confusion_charts(predictions: pl.DataFrame, looks: Sequence[Look], classes: Sequence[str]) -> list[Chart]:
    """Fused predictions by true class, one chart a run."""
    fused = predictions.filter(pl.col("output") == FUSED)
    runs = [(look, look.rows(fused)) for look in looks]
    matrices = [(look, confusion_matrix(run["prediction"], run["label"], len(classes))) for look, run in runs]
    return [_chart(look, matrix, classes) for look, matrix in matrices if matrix.any()]


def _chart(look: Look, matrix: NDArray[np.int64], classes: Sequence[str]) -> Chart:
    with canvas(height=4.1) as (figure, axes):
        axes.imshow(_shaded(matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)), interpolation="nearest")
        if len(classes) <= MAX_NAMED:
            _name_classes(axes, classes)
            _write_numbers(axes, matrix)
        axes.set_xlabel("predicted class")
        axes.set_ylabel("true class")
        axes.grid(visible=False)
        axes.spines[:].set_visible(False)
        return finish(figure, look.label, _confusions(matrix, classes))


def _name_classes(axes: Axes, classes: Sequence[str]) -> None:
    names = list(map(shortened, classes))
    axes.set_xticks(range(len(names)), names, rotation=0 if max(map(len, names)) <= 2 else 90, color=INK)
    axes.set_yticks(range(len(names)), names, color=INK)


def _shaded(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    opacity = MAX_OPACITY * np.sqrt(shares)  # rare confusions can be seen, and frequent ones can be written on
    return np.concatenate([np.broadcast_to(SHADE, (*shares.shape, 3)), opacity[..., None]], axis=-1)


def _write_numbers(axes: Axes, matrix: NDArray[np.int64]) -> None:
    for row, column in np.argwhere(matrix):
        axes.text(column, row, f"{matrix[row, column]}", color=INK, ha="center", va="center", size=8)


def _confusions(matrix: NDArray[np.int64], classes: Sequence[str], num: int = 3) -> str:
    wrong = matrix - np.diag(np.diag(matrix))
    places = np.argsort(-wrong, axis=None, kind="stable")[:num]
    cells = [(*np.unravel_index(place, wrong.shape), wrong.flat[place]) for place in places if wrong.flat[place]]
    if not cells:
        return "No test pair is taken for another class."
    named = [
        f"{classes[true]} for {classes[taken]} ({counted(int(number), 'time')})" for true, taken, number in cells
    ]
    return f"Most often taken: {listed(named)}."
