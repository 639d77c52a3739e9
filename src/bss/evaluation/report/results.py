"""Every run on the test split, in means over its seeds and seed by seed, and its modalities beside each other."""

from collections.abc import Mapping
from typing import Any

import polars as pl

from bss.evaluation.grid.inputs import ReportInputs
from bss.evaluation.grid.table import QUALITIES, accuracy_inside
from bss.evaluation.page.section import Block, Prose, Section, Table
from bss.evaluation.page.words import ABSENT, interval, mean_sd, percent, to_reference
from bss.types import ALONE, FUSED, OWN

PLACE = 20
HEADING = "Results on the test split"
QUALITY_NAMES = ("balanced", "macro F1", "mAP", "AUC, one vs one")
MARK = " ▼"
"""What stands behind an accuracy that is not above that of the majority class."""


def section(inputs: ReportInputs) -> Section:
    """Three tables: means with their differences to the baseline, the modalities, and the accuracy of every seed."""
    table, majority = inputs.table, inputs.majority
    alone = table.filter(~pl.col("output").is_in([FUSED, OWN]))["run"]
    note = "Means over seeds, ± standard deviation. Shares are in %, differences in points. " + inputs.interval_note
    terms = (
        "AUC: how well two classes are told apart, the mean over all pairs of classes (one versus one, Hand and Till "
        "2001). Balanced (accuracy), macro F1 and mAP (mean average precision): means over "
        "the classes. Majority class: always naming "
        f"{majority.class_name}, the most frequent class in training; ▼ marks what is no better. Steps and samples "
        "are those of the whole training."
    )
    header = ["run", "accuracy", to_reference(inputs.baseline, inputs.confidence), *QUALITY_NAMES, "steps", "samples"]
    rows = [_cells(row, inputs) for row in table.iter_rows(named=True)]
    of_majority = (majority.balanced_accuracy, majority.macro_f1)
    rows.append([majority.name, percent(majority.accuracy), ABSENT, *map(percent, of_majority), *[ABSENT] * 4])
    results = Table(HEADING, header, rows, note, muted={*alone, majority.name})
    blocks: list[Block] = [results, Prose([terms], "muted"), *_modalities(inputs), _by_seed(inputs)]
    return Section("Results", blocks, heading=HEADING)


def _cells(row: Mapping[str, Any], inputs: ReportInputs) -> list[str]:
    return [
        row["run"],
        mean_sd(row["accuracy"], row["accuracy_sd"]) + _mark(row["accuracy"], inputs),
        interval(row["difference"], row["low"], row["high"]),
        *(percent(row[name]) for name in QUALITIES[1:]),
        *(f"{row[name]:,}" for name in ("num_steps", "num_samples")),
    ]


def _mark(accuracy: float | None, inputs: ReportInputs) -> str:
    return MARK if accuracy is not None and accuracy <= inputs.majority.accuracy else ""


def _modalities(inputs: ReportInputs) -> list[Table]:
    """The accuracy of each modality inside every fused model, and alone."""
    table, names = inputs.table, inputs.modalities
    inside = [accuracy_inside(name) for name in names if accuracy_inside(name) in table.columns]
    known = table.filter(
        pl.col("output") == FUSED,
        pl.any_horizontal([pl.col(name).is_not_null() for name in inside] or [pl.lit(False)]),
    )
    if known.is_empty():
        return []
    rows = [
        [row["run"], *(_accuracy(row.get(accuracy_inside(name)), inputs) for name in names)]
        for row in known.iter_rows(named=True)
    ]
    alone = dict(table.filter(pl.col("method") == ALONE).select("output", "accuracy").iter_rows())
    if alone:
        rows.append(["alone", *(_accuracy(alone.get(name), inputs) for name in names)])
    note = (
        "Test accuracy in % of a modality's own output inside the fused model, mean over seeds; last, of the "
        "modality trained alone."
    )
    return [Table("Modalities inside the fused model", ["run", *names], rows, note, headed=True, muted={"alone"})]


def _accuracy(accuracy: float | None, inputs: ReportInputs) -> str:
    return percent(accuracy) + _mark(accuracy, inputs)


def _by_seed(inputs: ReportInputs) -> Table:
    fused = inputs.metrics.filter(pl.col("output") == FUSED)
    rows = []
    for look in inputs.looks:
        accuracy = dict(look.rows(fused).select("seed", "accuracy").iter_rows())
        rows.append([look.label, *(percent(accuracy.get(seed)) for seed in inputs.seeds)])
    header = ["run", *(f"seed {seed}" for seed in inputs.seeds)]
    return Table("Accuracy of every seed", header, rows, folded=True)
