"""Charts with a line a run: differences, learning and pacing."""

from collections.abc import Callable, Sequence

import polars as pl
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from bss.evaluation.page.canvas import INK, WIDE, Chart, canvas, finish
from bss.evaluation.page.words import counted, level, listed, percent
from bss.evaluation.report.looks import Look
from bss.types import FUSED


def difference_chart(table: pl.DataFrame, looks: Sequence[Look], baseline: str, confidence: float) -> Chart | None:
    """Paired difference of every run to the baseline with its interval; None without any difference."""
    known = [(look, row) for look in looks for row in look.rows(table).drop_nulls("difference").to_dicts()]
    if not known:
        return None
    with canvas(WIDE, 0.75 + 0.3 * len(known)) as (figure, axes):
        axes.axvline(0, color=INK, linewidth=0.8)
        for place, (look, row) in enumerate(known):
            low, mean, high = (100 * row[name] for name in ("low", "difference", "high"))
            axes.plot([low, high], [place, place], color=look.colour, linewidth=3, alpha=0.55)
            axes.plot(mean, place, "o", color=look.colour, markersize=7)
        axes.set_yticks(range(len(known)), [look.label for look, _ in known], color=INK)
        axes.set_ylim(len(known) - 0.5, -0.5)
        axes.set_xlabel(f"test accuracy against {baseline}, points")
        axes.grid(axis="y", visible=False)
        caption = (
            f"Dot: mean of the paired differences. Bar: its {level(confidence)} interval. "
            "A bar that crosses the line at 0 does not say which side is better."
        )
        return finish(figure, f"Difference to {baseline}", caption)


def bands(history: pl.DataFrame, value: pl.Expr, looks: Sequence[Look]) -> pl.DataFrame:
    """Mean, least and largest `value` over the seeds of the runs that have a look, by output and epoch from 1."""
    curves = (
        history.group_by("method", "scheduler", "output", "epoch", maintain_order=True)
        .agg(mean=value.mean(), low=value.min(), high=value.max())
        .sort("epoch", maintain_order=True)
        .with_columns(pl.col("epoch") - pl.col("epoch").min() + 1)
    )
    return pl.concat([look.rows(curves) for look in looks]) if looks else curves.clear()


def draw_bands(
    axes: Axes, curves: pl.DataFrame, output: str, looks: Sequence[Look], worded: Callable[[float], str]
) -> list[str]:
    """Draw the curves of one output; where each ends, in words."""
    ends = []
    for look in looks:
        curve = look.rows(curves).filter(pl.col("output") == output)
        axes.fill_between(curve["epoch"], curve["low"], curve["high"], color=look.colour, alpha=0.15, linewidth=0)
        axes.plot(curve["epoch"], curve["mean"], **look.line)
        ends += [f"{look.label} {worded(curve['mean'][-1])}"] if len(curve) else []
    return ends


def learning_charts(history: pl.DataFrame, looks: Sequence[Look]) -> list[Chart]:
    """Validation accuracy by epoch, a chart an output; mean of the seeds in a band from least to most."""
    curves = bands(history, 100 * pl.col("validation_accuracy"), looks)
    outputs = sorted(curves["output"].unique(maintain_order=True), key=lambda output: output != FUSED)
    return [_learning_chart(curves, output, looks) for output in outputs]


def _learning_chart(curves: pl.DataFrame, output: str, looks: Sequence[Look]) -> Chart:
    with canvas() as (figure, axes):
        ends = draw_bands(axes, curves, output, looks, lambda accuracy: f"{accuracy:.1f} %")
        low, high = curves["low"].to_numpy().min(), curves["high"].to_numpy().max()
        axes.set_ylim(low - 0.04 * (high - low) - 0.1, high + 0.04 * (high - low) + 0.1)  # the same in all
        label_axes(axes, "epoch", "validation accuracy, %")
        return finish(figure, output, description=f"Validation accuracy, last epoch: {listed(ends)}.")


def pacing_chart(pacing: pl.DataFrame, looks: Sequence[Look]) -> Chart:
    """Share of the training pairs in play by epoch, a line a scheduler."""
    by_scheduler = {look.scheduler: look for look in looks}
    curves = {name: pacing.filter(pl.col("scheduler") == name).sort("epoch") for name in by_scheduler}
    with canvas(WIDE) as (figure, axes):
        for place, (scheduler, curve) in enumerate(curves.items()):
            epochs = range(1, len(curve) + 1)
            width = 1.7 * (len(curves) - place)  # lines that lie on one another stay visible
            colour = by_scheduler[scheduler].colour
            axes.step(epochs, 100 * curve["fraction"], where="mid", color=colour, linewidth=width)
        axes.set_ylim(0, 105)
        label_axes(axes, "epoch", "training pairs in play, %")
        return finish(figure, "Training pairs in play", _paces(curves))


def _paces(curves: dict[str, pl.DataFrame]) -> str:
    whole = [scheduler for scheduler, curve in curves.items() if (curve["fraction"] >= 1).all()]
    growing = [_pace(scheduler, curve) for scheduler, curve in curves.items() if scheduler not in whole]
    return " ".join([*growing, f"All pairs are in play from the start: {listed(whole)}." if whole else ""])


def _pace(scheduler: str, curve: pl.DataFrame) -> str:
    share, num_pairs = percent(curve["fraction"][0]), counted(curve["num_samples"][0], "pair")
    start = f"{scheduler} starts with {share} % ({num_pairs})"
    full = (curve["fraction"] >= 1).arg_true()
    if full.is_empty():
        return f"{start} and ends with {percent(curve['fraction'][-1])} %."
    return f"{start} and has all in play from epoch {full[0] + 1}."


def label_axes(axes: Axes, x: str, y: str) -> None:
    """Name both axes of a chart whose x axis counts."""
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(axis="x", visible=False)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
