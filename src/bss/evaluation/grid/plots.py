"""Small tables of a grid, for plots that are drawn elsewhere."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from bss.evaluation.comparing.table import fused_runs
from bss.evaluation.grid.examples import damage
from bss.evaluation.grid.inputs import ReportInputs
from bss.evaluation.judging.metrics import confusion_matrix
from bss.types import FUSED

NUM_BINS = 20
"""Bins of the balance score over the whole of [-1, 1], so that two grids have the same ones."""
NUM_DIGITS = 6
RUN = ("method", "scheduler")


def plot_tables(inputs: ReportInputs) -> dict[str, pl.DataFrame]:
    """The tables to plot, over all seeds; a run is called METHOD-SCHEDULER.

    Returns:
        learning: run, output, epoch (from 1), validation_accuracy in [0, 1] (mean).
        confusion: run, predicted, actual, share in [0, 1] of the test pairs of the actual class; only what occurs,
            and first the pairs that are taken for what they are, whether they occur or not.
        pacing: scheduler, epoch (from 1), fraction in [0, 1] of the training pairs in play.
        scores: damaged (`none`, or what was), low and high (the ends of a bin of the balance score), share in
            [0, 1] of those training pairs that fall into the bin; empty bins are left out.
    """
    tables = {
        "learning": _learning(inputs.history),
        "confusion": _confusion(inputs.predictions, inputs.classes),
        "pacing": inputs.pacing.select("scheduler", _from_one("epoch").over("scheduler"), "fraction"),
        "scores": _scores(inputs.scores, inputs.manifest),
    }
    return {name: table.with_columns(pl.selectors.float().round(NUM_DIGITS)) for name, table in tables.items()}


def validation_accuracies(inputs: ReportInputs, keep: str) -> dict[str, dict[str, dict[str, float]]]:
    """Method -> scheduler -> seed -> fused validation accuracy of the epoch that was kept, in [0, 1].

    Means over seeds would hide of which they are, and a comparison has to pair them.

    Args:
        inputs: the grid.
        keep: `best` or `last`, see `train.keep`.
    """
    runs = fused_runs(inputs.metrics, inputs.history, keep)
    accuracies: dict[str, dict[str, dict[str, float]]] = {}
    for method, scheduler, seed, accuracy in runs.select(*RUN, "seed", "validation_accuracy").iter_rows():
        accuracies.setdefault(method, {}).setdefault(scheduler, {})[str(seed)] = round(accuracy, NUM_DIGITS)
    return accuracies


def _learning(history: pl.DataFrame) -> pl.DataFrame:
    runs = history.group_by(*RUN, "output", "epoch", maintain_order=True)
    means = runs.agg(pl.col("validation_accuracy").mean())
    return means.select(_run(), "output", _from_one("epoch").over(RUN), "validation_accuracy")


def _confusion(predictions: pl.DataFrame, classes: Sequence[str]) -> pl.DataFrame:
    fused = predictions.filter(pl.col("output") == FUSED).with_columns(_run())
    runs = fused.group_by("run", maintain_order=True)
    return pl.concat([_confusion_of_run(str(name), rows, classes) for (name,), rows in runs])


def _confusion_of_run(run: str, rows: pl.DataFrame, classes: Sequence[str]) -> pl.DataFrame:
    matrix = confusion_matrix(rows["prediction"], rows["label"], len(classes))
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    mistaken = np.argwhere(matrix * (1 - np.eye(len(classes))))
    # A plot that keeps the order of its rows has the classes in theirs.
    cells = [*((label, label) for label in range(len(classes))), *mistaken.tolist()]
    columns = [(classes[taken], classes[actual], shares[actual, taken]) for actual, taken in cells]
    table = pl.DataFrame(columns, schema=["predicted", "actual", "share"], orient="row")
    return table.select(pl.lit(run).alias("run"), pl.all())


def _scores(scores: pl.DataFrame, manifest: pl.DataFrame) -> pl.DataFrame:
    pairs = scores.join(manifest.select("index", damage(manifest)), on="index", how="inner")
    damaged = pl.col("damage").replace("", "none").alias("damaged")
    place = ((pl.col("balance_score") + 1) * NUM_BINS / 2).floor().clip(0, NUM_BINS - 1).alias("place")
    counts = pairs.group_by(damaged, place).len().sort("damaged", "place")
    low, high = ((pl.col("place") + end) * 2 / NUM_BINS - 1 for end in (0, 1))
    share = pl.col("len") / pl.sum("len").over("damaged")
    return counts.select("damaged", low.alias("low"), high.alias("high"), share.alias("share"))


def _run() -> pl.Expr:
    return pl.concat_str(*RUN, separator="-").alias("run")


def _from_one(column: str) -> pl.Expr:
    return pl.col(column) - pl.col(column).min() + 1
