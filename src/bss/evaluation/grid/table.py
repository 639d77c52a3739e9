"""The grid as one table: a row a method and scheduler, and a row a modality alone."""

from collections.abc import Iterator, Mapping

import polars as pl

from bss.evaluation.comparing.statistics import paired_difference, summary
from bss.evaluation.page.words import run_name
from bss.types import FUSED, OWN

QUALITIES = ("accuracy", "balanced_accuracy", "macro_f1", "mean_average_precision", "auc")
BUDGET = ("num_steps", "num_samples")
RUN = ("method", "scheduler")

Row = dict[str, object]


def summary_table(
    metrics: pl.DataFrame, baseline: str, confidence: float, labels: Mapping[str, str] | None = None
) -> pl.DataFrame:
    """Means over seeds of every run, in the order of `metrics`; modalities alone come last.

    Args:
        metrics: a row a run and output: method, scheduler, seed, output, accuracy, balanced_accuracy, macro_f1,
            mean_average_precision, auc, num_steps, num_samples.
        baseline: the scheduler that fused accuracies are compared with: same method, same seeds.
        confidence: of Student's interval of that difference, in (0, 1).
        labels: see `run_name`.

    Returns:
        run, method, scheduler, output ("fused", "own" or the modality alone), num_seeds; accuracy, accuracy_sd,
        balanced_accuracy, macro_f1, mean_average_precision, auc and inside_<modality> in [0, 1]; difference, low,
        high of accuracies; num_steps, num_samples.
        What a run does not have is null; what it has too few seeds for is nan.
    """
    rows = [*_fused_rows(metrics, baseline, confidence, labels or {}), *_single_rows(metrics, baseline)]
    counts = dict.fromkeys(("num_seeds", *BUDGET), pl.Int64)
    names = dict.fromkeys(("run", *RUN, "output"), pl.String)
    values = ["accuracy", "accuracy_sd", *QUALITIES[1:], *map(accuracy_inside, _modalities(metrics))]
    shares = dict.fromkeys([*values, "difference", "low", "high"], pl.Float64)
    return pl.DataFrame(rows, schema={**names, **shares, **counts})


def accuracy_inside(modality: str) -> str:
    """Column with the accuracy of one modality's own output inside the fused model."""
    return f"inside_{modality}"


def _fused_rows(metrics: pl.DataFrame, baseline: str, confidence: float, labels: Mapping[str, str]) -> Iterator[Row]:
    together = metrics.filter(pl.col("output").is_in([FUSED, OWN]))
    several = together["method"].n_unique() > 1
    for (method, scheduler, output), runs in together.group_by(*RUN, "output", maintain_order=True):
        model = metrics.join(runs, on=[*RUN, "seed"], how="semi")
        name = run_name(method, scheduler, several, labels) + (", its own rule" if output == OWN else "")
        row = _row(name, runs) | _inside_accuracies(model)
        reference = together.filter(
            pl.col("method") == method, pl.col("scheduler") == baseline, pl.col("output") == output
        )
        yield row if scheduler == baseline else row | _difference(runs, reference, confidence)


def _single_rows(metrics: pl.DataFrame, baseline: str) -> Iterator[Row]:
    single = metrics.join(metrics.filter(pl.col("output") == FUSED), on=[*RUN, "seed"], how="anti")
    for (_, scheduler, output), runs in single.group_by(*RUN, "output", maintain_order=True):
        yield _row(f"{output} alone" + ("" if scheduler == baseline else f" · {scheduler}"), runs)


def _row(run: str, runs: pl.DataFrame) -> Row:
    mean, sd = summary(runs["accuracy"])
    names = {
        "run": run,
        **{name: runs[name][0] for name in (*RUN, "output")},
        "num_seeds": runs["seed"].n_unique(),
    }
    means = {name: runs[name].mean() for name in QUALITIES[1:]}
    counts = {name: round(summary(runs[name])[0]) for name in BUDGET}
    return {**names, "accuracy": mean, "accuracy_sd": sd, **means, **counts}


def _inside_accuracies(model: pl.DataFrame) -> Row:
    inside = model.filter(~pl.col("output").is_in([FUSED, OWN])).group_by("output").agg(pl.col("accuracy").mean())
    return {accuracy_inside(output): accuracy for output, accuracy in inside.iter_rows()}


def _difference(runs: pl.DataFrame, reference: pl.DataFrame, confidence: float) -> Row:
    pairs = runs.join(reference, on="seed", how="inner", suffix="_of_baseline", validate="1:1").sort("seed")
    if pairs.is_empty():
        return {}
    found = paired_difference(pairs["accuracy"], pairs["accuracy_of_baseline"], confidence)
    return {"difference": found.mean, "low": found.low, "high": found.high}


def _modalities(metrics: pl.DataFrame) -> list[str]:
    return [output for output in metrics["output"].unique(maintain_order=True) if output not in (FUSED, OWN)]
