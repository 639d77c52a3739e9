"""The findings of a grid in plain words: what the score found, whether fusion pays, and whether an order helps."""

from collections.abc import Iterator

import polars as pl

from bss.evaluation.comparing.statistics import PairedDifference, paired_difference
from bss.evaluation.comparing.verdict import Compared, comparison_finding, in_points
from bss.evaluation.grid.inputs import ReportInputs
from bss.evaluation.findings.preferences import class_share, detection_areas
from bss.evaluation.page.section import Finding
from bss.evaluation.page.words import counted, percent, t_interval
from bss.types import ALONE, FUSED

CHANCE = 0.5
"""The area of a score that knows nothing of the damage."""
STRONG = 0.8
"""The area from which on a score is said to find damaged pairs, and not only some of them."""
MOSTLY = 0.5


def findings(inputs: ReportInputs) -> list[Finding]:
    """What the first screen says, in its order."""
    return [score_finding(inputs), *_fusion_finding(inputs), *_order_finding(inputs), *_method_finding(inputs)]


def score_finding(inputs: ReportInputs) -> Finding:
    """Whether the score finds the damaged pairs; where no pair is known to be damaged, how much of it is the class."""
    areas = detection_areas(inputs.scores, inputs.manifest)
    if not areas:
        shares = class_share(inputs.scores, inputs.manifest)
        mean = sum(shares) / len(shares)
        whether = "mostly by their class" if mean > MOSTLY else "mostly within each class"
        sentence = f"The balance score ranks the pairs {whether}: {percent(mean)} % of its variance lies between classes."
        return Finding(sentence, "No pair is known to be damaged, so nothing here says whether the score is right.")
    found = paired_difference(areas, [CHANCE] * len(areas), inputs.confidence)
    area = f"AUC {CHANCE + found.mean:.2f}"
    bounds = [min(max(CHANCE + end, 0), 1) for end in (found.low, found.high)]
    area += f" [{bounds[0]:.2f}, {bounds[1]:.2f}]" if len(areas) > 1 else ""
    if len(areas) > 1 and found.low <= 0 <= found.high:
        sentence = f"The balance score is not shown to find the damaged pairs: {area}."
    elif found.mean < 0:
        sentence = f"The balance score takes damaged pairs for balanced ones: {area}."
    else:
        some = "the" if CHANCE + found.mean >= STRONG else "some of the"
        sentence = f"The balance score finds {some} damaged pairs: {area}."
    interval_of = f"{t_interval(inputs.confidence)} over {len(areas)} seeds. " if len(areas) > 1 else "One seed. "
    meaning = "The probability that a damaged training pair scores below an intact one; 0.5 is chance, 1 is perfect."
    return Finding(sentence, interval_of + meaning)


def _fusion_finding(inputs: ReportInputs) -> Iterator[Finding]:
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
        yield Finding(f"Fusion ({row['run']}) is no better than naming one class: {accuracy} %, {least}.")
    elif alone.is_empty():
        yield Finding(f"Fusion ({row['run']}) reaches {accuracy} %, {least}.", "No modality was trained alone.")
    else:
        best = alone.row(0, named=True)
        found = _difference(inputs, (row["method"], row["scheduler"], FUSED), (ALONE, best["scheduler"], best["output"]))
        reached = f"Fusion ({row['run']}) {accuracy} %, {best['run']} {percent(best['accuracy'])} %, {least}."
        over = f"{t_interval(inputs.confidence)} over {counted(found.num_pairs, 'paired seed')}. "
        sentence = f"{_against_best(found)} the best single modality, {best['output']}: {in_points(found)}."
        yield Finding(sentence, over * (found.num_pairs > 1) + reached)


def _against_best(found: PairedDifference) -> str:
    if found.num_pairs == 1:
        return "One seed cannot show whether fusion beats"
    if found.low <= 0 <= found.high:
        return "Fusion is not shown to beat"
    return "Fusion beats" if found.mean > 0 else "Fusion loses to"


def _order_finding(inputs: ReportInputs) -> Iterator[Finding]:
    fused = inputs.table.filter(pl.col("output") == FUSED)
    rows = fused.drop_nulls("difference").to_dicts()
    if not rows:
        return
    compared = [
        Compared(row["run"], PairedDifference(row["difference"], row["low"], row["high"], row["num_seeds"])) for row in rows
    ]
    reference = f"{inputs.baseline} order"
    if fused["method"].n_unique() > 1:
        reference += " with the same method"
    yield comparison_finding(compared, "order", reference, inputs.confidence)


def _method_finding(inputs: ReportInputs) -> Iterator[Finding]:
    """Every other method against the first, each in the baseline's order."""
    fused = inputs.table.filter(pl.col("output") == FUSED, pl.col("scheduler") == inputs.baseline)
    first, *others = fused["method"].to_list() or [""]
    key = inputs.baseline, FUSED
    compared = [
        Compared(inputs.labels.get(name, name), _difference(inputs, (name, *key), (first, *key))) for name in others
    ]
    if compared:
        reference = f"{inputs.labels.get(first, first)}, each in {inputs.baseline} order"
        yield comparison_finding(compared, "method", reference, inputs.confidence)


def _difference(inputs: ReportInputs, run: tuple[str, str, str], other: tuple[str, str, str]) -> PairedDifference:
    """The accuracies of a method, scheduler and output less those of another, over the seeds that both have."""
    own, reference = (
        inputs.metrics.filter(method=method, scheduler=scheduler, output=output).select("seed", "accuracy")
        for method, scheduler, output in (run, other)
    )
    pairs = own.join(reference, on="seed", how="inner", suffix="_of_other", validate="1:1").sort("seed")
    return paired_difference(pairs["accuracy"], pairs["accuracy_of_other"], inputs.confidence)
