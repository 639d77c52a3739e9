"""The findings of a grid in words: which scheduler won, and whether the seeds show it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isnan
from typing import Any

import polars as pl

from bss.evaluation.page.words import level, mean_sd, percent, points
from bss.types import FUSED, OWN

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Verdict:
    """A finding in a sentence, and remarks on how far it can be trusted."""

    finding: str
    remarks: tuple[str, ...]


def verdicts(table: pl.DataFrame, baseline: str, confidence: float) -> list[Verdict]:
    """One verdict a method that fuses its modalities; `table` is a `summary_table`."""
    ranked = table.filter(pl.col("output") == FUSED).sort("accuracy", descending=True, maintain_order=True)
    methods = table["method"].unique(maintain_order=True)
    by_method = [ranked.filter(pl.col("method") == method).to_dicts() for method in methods]
    return [_verdict(runs, baseline, confidence) for runs in by_method if runs]


def _verdict(runs: Sequence[Row], baseline: str, confidence: float) -> Verdict:
    best, reference = runs[0], next((row for row in runs if row["scheduler"] == baseline), None)
    winner = f"{best['method']}: {best['scheduler']}"
    accuracy = mean_sd(best["accuracy"], best["accuracy_sd"])
    if len(runs) == 1:
        return Verdict(f"{winner} reaches a test accuracy of {accuracy} %.", ("No other scheduler was run.",))
    finding = f"{winner} has the highest test accuracy, {accuracy} %"
    if reference is None:
        return Verdict(f"{finding}.", (f"No run used the scheduler {baseline} to compare it with.",))
    other = runs[1] if best is reference else best
    if best is reference:
        finding += f"; no scheduler beats it. Next is {other['scheduler']}"
    remarks = (*_trust(other, best, baseline, confidence), *_budget(other, reference))
    return Verdict(f"{finding}, {points(other['difference'])} points against {baseline}.", remarks)


def _trust(other: Row, best: Row, baseline: str, confidence: float) -> Iterator[str]:
    low, high = other["low"], other["high"]
    if low is None or isnan(low):
        yield "A single pair of seeds gives no interval: this difference may be chance."
        return
    yield f"{level(confidence)} interval over the paired seeds: {points(low)} to {points(high)} points."
    if not low <= 0 <= high:
        yield "The interval does not contain 0."
        return
    worse = baseline if best is other else other["scheduler"]
    yield f"The interval contains 0: these seeds do not show {best['scheduler']} to be better than {worse}."


def _budget(other: Row, reference: Row) -> Iterator[str]:
    share = other["num_samples"] / max(reference["num_samples"], 1)
    if abs(share - 1) > 0.005:
        yield f"{other['scheduler']} saw {percent(share)} % as many samples as {reference['scheduler']}."


def cautions(table: pl.DataFrame) -> Iterator[str]:
    """Sentences on the whole grid: the best modality alone, and what the intervals are not corrected for."""
    alone = table.filter(~pl.col("output").is_in([FUSED, OWN])).sort("accuracy", descending=True, maintain_order=True)
    if not alone.is_empty():
        yield f"The best modality alone, {alone['output'][0]}, reaches {percent(alone['accuracy'][0])} %."
    if table["low"].is_not_nan().sum() > 1:
        yield "Intervals are not corrected for comparing several schedulers."
