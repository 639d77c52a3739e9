"""Many schedulers against one baseline: paired differences, their intervals, and what remains after correction."""

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from bss.evaluation.artifacts import kept_epoch
from bss.evaluation.comparing.statistics import PairedDifference, holm, paired_difference, sign_flip_p, summary
from bss.evaluation.comparing.variant import Variant
from bss.types import FUSED, OWN

COUNTS = ("num_steps", "num_samples")
BESIDE = ("accuracy_of_", "accuracy_by_")
"""Prefixes of the columns for other outputs of the same run: of a modality, and by the method's own rule."""
Row = dict[str, Any]


def comparison_table(
    metrics: pl.DataFrame, variants: Sequence[Variant], baseline: str, confidence: float
) -> pl.DataFrame:
    """One row a method and variant, over the same seeds.

    Args:
        metrics: a row a run, of the fused output: method, scheduler (the name of a variant), seed; accuracy, macro_f1
            and validation_accuracy in [0, 1]; num_steps, num_samples; what else `fused_runs` adds. Where it has a
            column `fold` that is not null, pairs are of folds: of each the mean over its seeds.
        variants: the rows, in the order of the table.
        baseline: the scheduler that the others are compared with, for the same method and seed.
        confidence: of the intervals.

    Returns:
        method, scheduler, label, settings (JSON), num_seeds (of pairs: seeds, or folds); means accuracy, accuracy_sd,
        macro_f1, validation_accuracy, num_steps, num_samples; to the baseline difference, low, high (Student's t),
        p (sign flips) and p_holm (corrected over all rows); validation_difference, validation_low, validation_high;
        to the twin, twin_difference, twin_low, twin_high; to the first method with the baseline, first_difference,
        first_low, first_high; the means of the further columns. Null where there is nothing to compare with.
    """
    rows = []
    methods = metrics["method"].unique(maintain_order=True)
    first = _of(_of(metrics, "method", methods[0]), "scheduler", baseline)
    for method in methods:
        runs = {name: of_one for (name,), of_one in _of(metrics, "method", method).group_by("scheduler")}
        for variant in variants:
            row = _row(method, variant, runs, baseline, confidence)
            is_first = (method, variant.name) == (methods[0], baseline)
            reference = None if is_first else first
            rows.append(row | _difference("first_", runs[variant.name], reference, "accuracy", confidence))
    table = pl.DataFrame(rows, infer_schema_length=None)
    compared = table["p"].is_not_null()
    corrected = pl.Series(holm(table["p"].drop_nulls()), dtype=pl.Float64)
    return table.with_columns(
        p_holm=pl.Series([None] * len(table), dtype=pl.Float64).scatter(compared.arg_true(), corrected)
    )


def fused_runs(metrics: pl.DataFrame, history: pl.DataFrame, keep: str) -> pl.DataFrame:
    """The fused rows of `metrics` with the validation accuracy of the epoch that was kept.

    Beside it accuracy_of_<modality> and, where a method has one, accuracy_by_own_rule, of the same runs.

    Args:
        metrics: a row a run and output, as the report has it.
        history: a row a run, epoch and output, as `kept_epoch` reads it.
        keep: `best` or `last`, see `train.keep`.
    """
    run = ["method", "scheduler", "seed"]
    runs = _of(history, "output", FUSED).group_by(run, maintain_order=True)
    kept = pl.DataFrame([kept_epoch(epochs, keep) for _, epochs in runs], history.schema)
    validation = kept.select(*run, "validation_accuracy")
    fused = _of(metrics, "output", FUSED).join(validation, on=run, how="left", maintain_order="left", validate="1:1")
    for output in metrics["output"].unique(maintain_order=True):
        if output != FUSED:
            name = "accuracy_by_own_rule" if output == OWN else f"accuracy_of_{output}"
            beside = _of(metrics, "output", output).select(*run, pl.col("accuracy").alias(name))
            fused = fused.join(beside, on=run, how="left", maintain_order="left", validate="1:1")
    return fused


def _row(method: str, variant: Variant, runs: Mapping[str, pl.DataFrame], baseline: str, confidence: float) -> Row:
    own = runs[variant.name]
    mean, sd = summary(own["accuracy"])
    row: Row = {"method": method, "scheduler": variant.name, "label": variant.label}
    row |= {"num_seeds": len(_repeats(own, "accuracy")), "accuracy": mean, "accuracy_sd": sd}
    row |= {name: own[name].mean() for name in ("macro_f1", "validation_accuracy")}
    row |= {name: round(summary(own[name])[0]) for name in COUNTS}
    row |= {name: own[name].mean() for name in own.columns if name.startswith(BESIDE)}
    reference = None if variant.name == baseline else runs[baseline]
    row |= _difference("", own, reference, "accuracy", confidence)
    row |= {"p": None if reference is None else sign_flip_p(*_pairs(own, reference, "accuracy"))}
    row |= _difference("validation_", own, reference, "validation_accuracy", confidence)
    twin = runs[variant.twin.name] if variant.twin else None
    return row | _difference("twin_", own, twin, "accuracy", confidence)


def _difference(
    prefix: str, own: pl.DataFrame, other: pl.DataFrame | None, column: str, confidence: float
) -> dict[str, float | None]:
    found = None
    if other is not None:
        pairs = _pairs(own, other, column)
        overlap = 1 / (len(pairs[0]) - 1) if _has_folds(own) and len(pairs[0]) > 1 else 0.0
        found = paired_difference(*pairs, confidence, overlap)
    return {f"{prefix}{name}": value for name, value in _parts(found).items()}


def _parts(found: PairedDifference | None) -> dict[str, float | None]:
    if found is None:
        return {"difference": None, "low": None, "high": None}
    return {"difference": found.mean, "low": found.low, "high": found.high}


def _pairs(own: pl.DataFrame, other: pl.DataFrame, column: str) -> tuple[pl.Series, pl.Series]:
    first, second = (_repeats(runs, column) for runs in (own, other))
    pairs = first.join(second, on="repeat", how="inner", suffix="_of_other", validate="1:1").sort("repeat")
    return pairs[column], pairs[f"{column}_of_other"]


def _repeats(runs: pl.DataFrame, column: str) -> pl.DataFrame:
    """`repeat`, a seed or a fold, and the value of a column there; of a fold the mean over its seeds."""
    repeat = "fold" if _has_folds(runs) else "seed"
    return runs.group_by(pl.col(repeat).alias("repeat")).agg(pl.col(column).mean())


def _has_folds(runs: pl.DataFrame) -> bool:
    return "fold" in runs.columns and runs["fold"].null_count() == 0


def _of(table: pl.DataFrame, column: str, value: str) -> pl.DataFrame:
    return table.filter(pl.col(column) == value)
