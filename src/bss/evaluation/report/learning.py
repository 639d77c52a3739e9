"""How well each output does on validation, by epoch."""

from collections.abc import Sequence

import polars as pl

from bss.evaluation.grid.inputs import ReportInputs
from bss.evaluation.grid.looks import Look, legend
from bss.evaluation.page.canvas import Chart, canvas, finish, label_axes
from bss.evaluation.page.section import Charts, Prose, Section
from bss.evaluation.page.words import listed
from bss.evaluation.report._bands import bands, draw_bands
from bss.types import FUSED

PLACE = 30
STEEP = 0.25
"""Share of the epochs, the first ones, that the scale need not hold."""


def section(inputs: ReportInputs) -> Section:
    """A chart an output, with a line a run."""
    note = (
        "Validation accuracy after each epoch: the mean over seeds, in a band from the least to the most accurate "
        "seed. Each output has a scale of its own, which fits what follows the steep first epochs: a line may begin "
        "below it."
    )
    charts = Charts(learning_charts(inputs.history, inputs.looks))
    return Section("Learning", [Prose([note]), legend(inputs.looks), charts], heading="Learning curves")


def learning_charts(history: pl.DataFrame, looks: Sequence[Look]) -> list[Chart]:
    """Validation accuracy by epoch, a chart an output; mean of the seeds in a band from least to most."""
    curves = bands(history, 100 * pl.col("validation_accuracy"), looks)
    outputs = sorted(curves["output"].unique(maintain_order=True), key=lambda output: output != FUSED)
    return [_learning_chart(curves, output, looks) for output in outputs]


def _learning_chart(curves: pl.DataFrame, output: str, looks: Sequence[Look]) -> Chart:
    with canvas() as (figure, axes):
        ends = draw_bands(axes, curves, output, looks, lambda accuracy: f"{accuracy:.1f} %")
        low, high = settled_limits(curves.filter(pl.col("output") == output))
        axes.set_ylim(low - 0.06 * (high - low) - 0.1, high + 0.06 * (high - low) + 0.1)
        label_axes(axes, "epoch", "validation accuracy, %")
        return finish(figure, output, description=f"Validation accuracy, last epoch: {listed(ends)}.")


def settled_limits(curve: pl.DataFrame) -> tuple[float, float]:
    """The lowest and the highest value after the steep first epochs: they would press all lines into one."""
    settled = curve.filter(pl.col("epoch") > STEEP * pl.col("epoch").max())
    return float(settled["low"].to_numpy().min()), float(settled["high"].to_numpy().max())
