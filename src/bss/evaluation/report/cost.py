"""What each run costs, and what it brings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl
from matplotlib.ticker import MaxNLocator

from bss.evaluation.page.canvas import WIDE, Chart, canvas, finish
from bss.evaluation.page.words import ABSENT, percent
from bss.evaluation.report.looks import Look
from bss.types import FUSED

Row = Mapping[str, Any]
COSTS = ("num_steps", "num_samples", "seconds")


@dataclass(frozen=True)
class Cost:
    """A row of the table, in words."""

    run: str
    steps: str
    samples: str
    share: str
    """Of the samples of the baseline's run of the same method, in percent."""
    seconds: str
    seconds_share: str


def costs(table: pl.DataFrame, seconds: pl.DataFrame, baseline: str) -> list[Cost]:
    """Steps, samples and seconds of training of every run, means over the seeds, and their ratio to the baseline.

    Args:
        table: as `summary_table` gives it.
        seconds: a row a run whose training was timed here: method, scheduler, seed, seconds.
        baseline: the scheduler that a run of the same method is compared with.
    """
    means = seconds.group_by("method", "scheduler").agg(pl.col("seconds").mean())
    rows = table.unique(["method", "scheduler"], keep="first", maintain_order=True)
    timed = rows.join(means, on=["method", "scheduler"], how="left", maintain_order="left").to_dicts()
    reference = {row["method"]: row for row in timed if row["scheduler"] == baseline}
    return [_cost(row, reference.get(row["method"], {})) for row in timed]


def _cost(row: Row, reference: Row) -> Cost:
    steps, samples, seconds = (row[name] for name in COSTS)
    return Cost(
        run=row["run"] if row["output"] == FUSED else "each modality alone",
        steps=f"{steps:,}",
        samples=f"{samples:,}",
        share=_share(samples, reference.get("num_samples")),
        seconds=ABSENT if seconds is None else f"{seconds:,.1f}",
        seconds_share=_share(seconds, reference.get("seconds")),
    )


def _share(value: float | None, whole: float | None) -> str:
    return percent(value / whole) if value is not None and whole else ABSENT


def cost_chart(table: pl.DataFrame, looks: Sequence[Look]) -> Chart:
    """Test accuracy of every run over the samples that it saw."""
    fused = table.filter(pl.col("output") == FUSED)
    with canvas(WIDE) as (figure, axes):
        for look in looks:
            for row in look.rows(fused).iter_rows(named=True):
                place = (row["num_samples"], 100 * row["accuracy"])
                spread = None if row["accuracy_sd"] != row["accuracy_sd"] else 100 * row["accuracy_sd"]
                axes.errorbar(*place, yerr=spread, fmt="o", markersize=7, linewidth=1.7, color=look.colour)
        axes.set_xlim(0, 1.08 * fused["num_samples"].to_numpy().max(initial=1))
        axes.xaxis.set_major_locator(MaxNLocator(4))
        axes.xaxis.set_major_formatter(lambda number, _: f"{number:,.0f}")
        axes.set_xlabel("training samples seen")
        axes.set_ylabel("test accuracy, %")
        caption = "Dot: mean over seeds. Bar: one standard deviation to each side. Further left is cheaper."
        return finish(figure, "Accuracy by samples seen", caption)
