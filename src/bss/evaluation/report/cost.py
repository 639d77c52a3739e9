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


def section(inputs: ReportInputs) -> Section:
    """A table of every run's budget, and its accuracy over the samples that it saw."""
    share = f"% of {inputs.baseline}"
    header = ("run", "steps", "samples", f"samples, {share}")
    note = (
        "Means over seeds of the whole training, with the warm-up that a run starts from; shares are of "
        f"{inputs.baseline} order with the same method, of a modality alone with the first. How long each training "
        "took here stands in models/times."
    )
    rows = costs(inputs.table, inputs.baseline)
    chart = cost_chart(inputs.table, inputs.looks)
    table = Table("Cost", header, rows, note)
    return Section("Cost", [table, legend(inputs.looks), Charts([chart], look="wide")])


def costs(table: pl.DataFrame, baseline: str) -> list[tuple[str, ...]]:
    """Steps and samples of training of every run, means over the seeds, and the samples in % of the baseline's.

    The baseline itself has no share; a modality alone has that of the first method's baseline.

    Args:
        table: as `summary_table` gives it.
        baseline: the scheduler that a run of the same method is compared with.
    """
    rows = table.unique(["method", "scheduler"], keep="first", maintain_order=True).to_dicts()
    reference = {row["method"]: row for row in rows if row["scheduler"] == baseline and row["output"] == FUSED}
    first = next(iter(reference.values()), {})
    return [_cost(row, reference.get(row["method"], first if row["output"] != FUSED else {})) for row in rows]


def _cost(row: Row, reference: Row) -> tuple[str, ...]:
    steps, samples = row["num_steps"], row["num_samples"]
    name = row["run"] if row["output"] == FUSED else "each modality alone"
    return (
        name,
        f"{steps:,}",
        f"{samples:,}",
        ABSENT if row is reference else _share(samples, reference.get("num_samples")),
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
