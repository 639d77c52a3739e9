"""Lines by epoch with the band of their seeds, which several sections draw."""

from collections.abc import Callable, Sequence

import polars as pl
from matplotlib.axes import Axes

from bss.evaluation.grid.looks import Look


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
