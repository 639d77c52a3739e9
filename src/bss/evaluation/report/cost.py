"""The budget of each run, beside its accuracy."""

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl
from matplotlib.ticker import MaxNLocator

from bss.evaluation.grid.inputs import ReportInputs
from bss.evaluation.grid.looks import Look, legend
from bss.evaluation.page.canvas import WIDE, Chart, canvas, finish
from bss.evaluation.page.section import Charts, Section, Table
from bss.evaluation.page.words import ABSENT, percent
from bss.types import FUSED

PLACE = 110
Row = Mapping[str, Any]
COSTS = ("num_steps", "num_samples", "seconds")


def section(inputs: ReportInputs) -> Section:
    """A table of every run's budget, and its accuracy over the samples that it saw."""
    share = f"% of {inputs.baseline}"
    header = ("run", "steps", "samples", f"samples, {share}", "seconds", f"seconds, {share}")
    note = (
        "Means over seeds of the whole training, with the warm-up that a run starts from in its steps and samples; "
        f"shares are of {inputs.baseline} order with the same method. Seconds are measured, of training without that "
        "warm-up, on the machine that made this page, with whatever else ran on it; of a training that was "
        "interrupted they are those of its last part, and “-” stands where no training ran here. They alone differ "
        "from one run of the pipeline to the next."
    )
    rows = costs(inputs.table, inputs.seconds, inputs.baseline)
    chart = cost_chart(inputs.table, inputs.looks)
    table = Table("Cost", header, rows, note, timed=header[-2:])
    return Section("Cost", [table, legend(inputs.looks), Charts([chart], look="wide")])


def costs(table: pl.DataFrame, seconds: pl.DataFrame, baseline: str) -> list[tuple[str, ...]]:
    """Steps, samples and seconds of training of every run, means over the seeds, and their ratio to the baseline.

    A row has the name of the run, steps, samples, samples in % of the baseline's, seconds, seconds in % of the
    baseline's; "-" stands for what was not timed.

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


def _cost(row: Row, reference: Row) -> tuple[str, ...]:
    steps, samples, seconds = (row[name] for name in COSTS)
    return (
        row["run"] if row["output"] == FUSED else "each modality alone",
        f"{steps:,}",
        f"{samples:,}",
        _share(samples, reference.get("num_samples")),
        ABSENT if seconds is None else f"{seconds:,.1f}",
        _share(seconds, reference.get("seconds")),
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
                deviation = None if row["accuracy_sd"] != row["accuracy_sd"] else 100 * row["accuracy_sd"]
                axes.errorbar(*place, yerr=deviation, fmt="o", markersize=7, linewidth=1.7, color=look.colour)
        axes.set_xlim(0, 1.08 * fused["num_samples"].to_numpy().max(initial=1))
        axes.xaxis.set_major_locator(MaxNLocator(4))
        axes.xaxis.set_major_formatter(lambda number, _: f"{number:,.0f}")
        axes.set_xlabel("training samples seen")
        axes.set_ylabel("test accuracy, %")
        caption = "Dot: mean over seeds. Bar: one standard deviation to each side. Further left is cheaper."
        return finish(figure, "Accuracy by samples seen", caption)
