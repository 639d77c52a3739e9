"""Charts with a line a run: differences, learning, pacing and draws."""

from collections.abc import Sequence

import polars as pl
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from bss.evaluation.report.canvas import INK, WIDE, Chart, canvas, finish
from bss.evaluation.report.looks import Look
from bss.evaluation.report.words import counted, level, listed, percent
from bss.types import FUSED

NUM_GROUPS = 10
"""Groups of training pairs by balance score, of the same size."""


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


def learning_charts(history: pl.DataFrame, looks: Sequence[Look]) -> list[Chart]:
    """Validation accuracy by epoch, a chart an output; mean of the seeds in a band from least to most."""
    accuracy = 100 * pl.col("validation_accuracy")
    curves = (
        history.group_by("method", "scheduler", "output", "epoch", maintain_order=True)
        .agg(mean=accuracy.mean(), low=accuracy.min(), high=accuracy.max())
        .sort("epoch", maintain_order=True)
        .with_columns(pl.col("epoch") - pl.col("epoch").min() + 1)
    )
    curves = pl.concat([look.rows(curves) for look in looks]) if looks else curves.clear()
    outputs = sorted(curves["output"].unique(maintain_order=True), key=lambda output: output != FUSED)
    return [_learning_chart(curves, output, looks) for output in outputs]


def _learning_chart(curves: pl.DataFrame, output: str, looks: Sequence[Look]) -> Chart:
    ends = []
    with canvas() as (figure, axes):
        for look in looks:
            curve = look.rows(curves).filter(pl.col("output") == output)
            band = (curve["epoch"], curve["low"], curve["high"])
            axes.fill_between(*band, color=look.colour, alpha=0.15, linewidth=0)
            axes.plot(curve["epoch"], curve["mean"], **look.line)
            ends.append(f"{look.label} {percent(curve['mean'][-1] / 100)} %" if len(curve) else look.label)
        low, high = curves["low"].to_numpy().min(), curves["high"].to_numpy().max()
        axes.set_ylim(low - 0.04 * (high - low) - 0.1, high + 0.04 * (high - low) + 0.1)  # the same in all
        _label(axes, "epoch", "validation accuracy, %")
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
        _label(axes, "epoch", "training pairs in play, %")
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


def draw_chart(draws: pl.DataFrame, scores: pl.DataFrame, looks: Sequence[Look]) -> Chart:
    """Mean number of draws of a training pair by its balance score, in groups of the same size."""
    place = pl.col("balance_score").rank("ordinal").cast(pl.Int64).over("seed")
    group = (place - 1) * NUM_GROUPS // pl.len().over("seed") + 1
    counts = draws.join(scores.select("seed", "index", group=group), on=["seed", "index"], how="inner")
    with canvas(WIDE) as (figure, axes):
        for look in looks:
            curve = look.rows(counts).group_by("group").agg(pl.col("num_draws").mean()).sort("group")
            axes.plot(curve["group"], curve["num_draws"], marker="o", markersize=4, **look.line)
        axes.set_ylim(0, 1.05 * axes.get_ylim()[1])
        _label(axes, "tenth of the pairs by balance score (1: least balanced)", "draws of a pair")
        axes.set_xticks(range(1, NUM_GROUPS + 1))
        caption = "Mean number of draws in the whole training, over pairs and seeds, by score before training."
        return finish(figure, "Draws by balance score", caption)


def _label(axes: Axes, x: str, y: str) -> None:
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(axis="x", visible=False)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
