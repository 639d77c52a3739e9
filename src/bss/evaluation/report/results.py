"""Every run on the test split, in means over its seeds and seed by seed."""

from collections.abc import Mapping
from typing import Any

import polars as pl

from bss.evaluation.grid.inputs import ReportInputs
from bss.evaluation.grid.table import QUALITIES, accuracy_inside
from bss.evaluation.page.section import Section, Table
from bss.evaluation.page.words import interval, level, mean_sd, percent
from bss.types import FUSED, OWN

PLACE = 20
HEADING = "Results on the test split"


def section(inputs: ReportInputs) -> Section:
    """Two tables: means with their differences to the baseline, and the accuracy of every seed."""
    table = inputs.table
    alone = table.filter(~pl.col("output").is_in([FUSED, OWN]))["run"]
    note = (
        "Means over seeds, ± standard deviation. Shares are in %, differences in points with their "
        f"{level(inputs.confidence)} interval. “Balanced” is the mean accuracy of the classes, “inside” the accuracy "
        "of a modality's own output in the fused model; steps and samples are those of the whole training."
    )
    inside = [f"{modality} inside" for modality in inputs.modalities]
    difference = f"to {inputs.baseline} [interval]"
    header = ["run", "accuracy", difference, "balanced", "macro F1", "mAP", "AUC", *inside, "steps", "samples"]
    rows = [_cells(row, inputs) for row in table.iter_rows(named=True)]
    return Section(
        "Results", [Table(HEADING, header, rows, note, muted=set(alone)), _by_seed(inputs)], heading=HEADING
    )


def _cells(row: Mapping[str, Any], inputs: ReportInputs) -> list[str]:
    return [
        row["run"],
        mean_sd(row["accuracy"], row["accuracy_sd"]),
        interval(row["difference"], row["low"], row["high"]),
        *(percent(row[name]) for name in QUALITIES[1:]),
        *(percent(row.get(accuracy_inside(modality))) for modality in inputs.modalities),
        *(f"{row[name]:,}" for name in ("num_steps", "num_samples")),
    ]


def _by_seed(inputs: ReportInputs) -> Table:
    fused = inputs.metrics.filter(pl.col("output") == FUSED)
    rows = []
    for look in inputs.looks:
        accuracy = dict(look.rows(fused).select("seed", "accuracy").iter_rows())
        rows.append([look.label, *(percent(accuracy.get(seed)) for seed in inputs.seeds)])
    header = ["run", *(f"seed {seed}" for seed in inputs.seeds)]
    return Table("Accuracy of every seed", header, rows, folded=True)
