"""The findings of a grid in plain words: what the score found, whether fusion pays, and whether an order helps."""

from collections.abc import Iterator
from dataclasses import replace
from math import isnan

import polars as pl

from bss.evaluation.advice.advise import tail_verdict
from bss.evaluation.comparing.statistics import PairedDifference, paired_difference
from bss.evaluation.comparing.verdict import (
    Compared,
    compared,
    comparison_verdict,
    in_points,
    power_note,
    some,
)
from bss.evaluation.findings.preferences import class_share, detection_areas
from bss.evaluation.grid.examples import damage
from bss.evaluation.grid.inputs import ReportInputs
from bss.evaluation.page.section import Verdict
from bss.evaluation.page.words import percent, t_interval
from bss.types import ALONE, FUSED
from bss.wording import counted

CHANCE = 0.5
"""The area of a score that knows nothing of the damage."""
STRONG = 0.8
"""The area from which on a score is said to find damaged pairs, and not only some of them."""
MOSTLY = 0.5
"""Share of the score's variance between classes from which on it is said to rank mostly by class."""
SAME_BUDGET = 0.005
"""Relative difference of samples seen up to which two budgets are the same."""


def verdicts(inputs: ReportInputs) -> list[Verdict]:
    """What the first screen says, in its order."""
    tail = [] if inputs.held_out.is_empty() else [tail_verdict(inputs.scores, inputs.held_out)]
    return [score_verdict(inputs), *tail, *_fusion_verdict(inputs), *_order_verdict(inputs), *_method_verdict(inputs)]


def score_verdict(inputs: ReportInputs) -> Verdict:
    """Whether the score finds the damaged pairs; where none is known to be damaged, how much of it is the class."""
    areas = detection_areas(inputs.scores, inputs.manifest)
    if not areas:
        shares = class_share(inputs.scores, inputs.manifest)
        mean = sum(shares) / len(shares)
        whether = "mostly by their class" if mean > MOSTLY else "mostly within each class"
        sentence = (
            f"The balance score ranks the pairs {whether}: {percent(mean)} % of its variance lies between classes."
        )
        return Verdict(sentence, "No pair is known to be damaged, so nothing here says whether the score is right.")
    found = paired_difference(areas, [CHANCE] * len(areas), inputs.confidence)
    area = f"AUC {CHANCE + found.mean:.2f}"
    bounds = [min(max(CHANCE + end, 0), 1) for end in (found.low, found.high)]
    area += "" if isnan(found.low) else f" [{bounds[0]:.2f}, {bounds[1]:.2f}]"
    if found.low <= 0 <= found.high:
        sentence = f"The balance score is not shown to find the damaged pairs: {area}."
    elif found.mean < 0:
        sentence = f"The balance score takes damaged pairs for balanced ones: {area}."
    else:
        some = "the" if CHANCE + found.mean >= STRONG else "some of the"
        sentence = f"The balance score finds {some} damaged pairs: {area}."
    interval_of = f"{t_interval(inputs.confidence)} over {len(areas)} seeds. " if len(areas) > 1 else "One seed. "
    meaning = "The probability that a damaged training pair scores below an intact one; 0.5 is chance, 1 is perfect."
    return Verdict(sentence, interval_of + meaning)


def _fusion_verdict(inputs: ReportInputs) -> Iterator[Verdict]:
    """Fusion, in the baseline's order where it was run, against the best single modality and the majority class."""
    table, majority = inputs.table, inputs.majority
    fused = table.filter(pl.col("output") == FUSED)
    if fused.is_empty():
        return
    of_baseline = fused.filter(pl.col("scheduler") == inputs.baseline)
    row = (fused if of_baseline.is_empty() else of_baseline).row(0, named=True)
    accuracy, least = percent(row["accuracy"]), f"the majority class {percent(majority.accuracy)} %"
    alone = table.filter(pl.col("method") == ALONE).sort("accuracy", descending=True, maintain_order=True)
    if row["accuracy"] <= majority.accuracy:
        yield Verdict(f"Fusion ({row['run']}) is no better than naming one class: {accuracy} %, {least}.")
    elif alone.is_empty():
        yield Verdict(f"Fusion ({row['run']}) reaches {accuracy} %, {least}.", "No modality was trained alone.")
    else:
        best = alone.row(0, named=True)
        found = _difference(
            inputs, (row["method"], row["scheduler"], FUSED), (ALONE, best["scheduler"], best["output"])
        )
        reached = f"Fusion ({row['run']}) {accuracy} %, {best['run']} {percent(best['accuracy'])} %, {least}."
        over = f"{t_interval(inputs.confidence)} over {counted(found.num_pairs, 'paired seed')}. "
        sentence = f"{_against_best(found)} the best single modality, {best['output']}: {in_points(found)}."
        yield Verdict(sentence, over * (found.num_pairs > 1) + reached)


def _against_best(found: PairedDifference) -> str:
    if found.num_pairs == 1:
        return "One seed cannot show whether fusion beats"
    if isnan(found.low) or found.low <= 0 <= found.high:
        return "Fusion is not shown to beat"
    return "Fusion beats" if found.mean > 0 else "Fusion loses to"


def _order_verdict(inputs: ReportInputs) -> Iterator[Verdict]:
    fused = inputs.table.filter(pl.col("output") == FUSED)
    rows = fused.drop_nulls("difference").to_dicts()
    if not rows:
        return
    runs = [compared(row["run"], row) for row in rows]
    reference = f"{inputs.baseline} order"
    if fused["method"].n_unique() > 1:
        reference += " with the same method"
    found = comparison_verdict(runs, "order", reference, inputs.confidence)
    is_open = not any(run.found.low > 0 for run in runs)
    power = power_note([run.found for run in runs], inputs.confidence) if is_open else ""
    notes = found.trust, _draws_of_damaged(inputs, fused), power, _budgets(fused, inputs.baseline)
    yield replace(found, trust=" ".join(filter(None, notes)))


def _draws_of_damaged(inputs: ReportInputs, fused: pl.DataFrame) -> str:
    """How much less often the orders draw a damaged pair than an intact one; empty where no pair is known as such."""
    key = ["method", "scheduler"]
    pairs = inputs.draws.join(inputs.manifest.select("index", damage(inputs.manifest)), on="index", how="inner")
    drawn = pairs.group_by(*key, is_damaged=pl.col("damage") != "").agg(pl.col("num_draws").mean())
    damaged, intact = (drawn.filter(is_damaged=is_damaged) for is_damaged in (True, False))
    ratio = pl.col("num_draws") / pl.col("num_draws_of_intact")
    ratios = damaged.join(intact, on=key, suffix="_of_intact").select(*key, ratio=ratio)
    others = fused.filter(pl.col("scheduler") != inputs.baseline).join(ratios, on=key, maintain_order="left")
    rows = [f"{run} {ratio:.2f}" for run, ratio in others.select("run", "ratio").iter_rows()]
    return f"Draws of a damaged pair over those of an intact one: {some(rows)}." if rows else ""


def _budgets(fused: pl.DataFrame, baseline: str) -> str:
    """The runs that saw another number of samples than the baseline of their method; empty where there is none."""
    samples = dict(fused.filter(pl.col("scheduler") == baseline).select("method", "num_samples").iter_rows())
    shares = {row["run"]: row["num_samples"] / max(samples.get(row["method"], 0), 1) for row in fused.to_dicts()}
    others = [f"{name} {percent(share)} %" for name, share in shares.items() if abs(share - 1) > SAME_BUDGET]
    return f"Samples seen, of {baseline} order's: {some(others)}." if others else ""


def _method_verdict(inputs: ReportInputs) -> Iterator[Verdict]:
    """Every other method against the first, each in the baseline's order."""
    fused = inputs.table.filter(pl.col("output") == FUSED, pl.col("scheduler") == inputs.baseline)
    first, *others = fused["method"].to_list() or [""]
    key = inputs.baseline, FUSED
    runs = [
        Compared(inputs.labels.get(name, name), _difference(inputs, (name, *key), (first, *key))) for name in others
    ]
    if runs:
        reference = f"{inputs.labels.get(first, first)} (each in {inputs.baseline} order)"
        yield comparison_verdict(runs, "method", reference, inputs.confidence)


def _difference(inputs: ReportInputs, run: tuple[str, str, str], other: tuple[str, str, str]) -> PairedDifference:
    """The accuracies of a method, scheduler and output less those of another, over the seeds that both have."""
    own, reference = (
        inputs.metrics.filter(method=method, scheduler=scheduler, output=output).select("seed", "accuracy")
        for method, scheduler, output in (run, other)
    )
    pairs = own.join(reference, on="seed", how="inner", suffix="_of_other", validate="1:1").sort("seed")
    return paired_difference(pairs["accuracy"], pairs["accuracy_of_other"], inputs.confidence)
