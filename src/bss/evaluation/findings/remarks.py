"""What a reader has to know before they trust a grid: a remark each, and only where it applies."""

from collections.abc import Iterator
from math import sqrt
from statistics import NormalDist

import polars as pl

from bss.evaluation.artifacts import kept_epoch
from bss.evaluation.comparing.table import fused_runs
from bss.evaluation.findings.preferences import class_means, class_share
from bss.evaluation.grid.inputs import ReportInputs
from bss.evaluation.grid.table import accuracy_inside
from bss.evaluation.page.words import listed, percent, points
from bss.types import FUSED
from bss.wording import counted

CERTAINTY = 0.99
"""Probability that a difference of validation and test which chance explains is given no remark."""
PREFERENCE = 0.1
"""Share of the score's variance between classes from which on it is said to prefer some."""
NUM_NAMED = 2
LATE = 0.25
"""Share of the epochs, the last ones, over which the accuracy should have stopped to rise."""
SETTLED = 0.005
"""A rise of the accuracy over those epochs, in [0, 1], below which it has about stopped."""


def remarks(inputs: ReportInputs) -> list[str]:
    """All remarks on a grid."""
    return [*budget_remark(inputs.history), *split_remark(inputs), *chance_remark(inputs), *preference_remark(inputs)]


def budget_remark(history: pl.DataFrame) -> Iterator[str]:
    """Whether most runs were best in their last epoch: then they were still learning."""
    fused = history.filter(pl.col("output") == FUSED)
    runs = [run.sort("epoch") for _, run in fused.group_by("method", "scheduler", "seed", maintain_order=True)]
    last = [run for run in runs if run.height > 1 and _was_learning(run)]
    if 2 * len(last) <= len(runs):
        return
    num_late = max(1, round(LATE * max(run.height for run in runs)))
    accuracies = [run["validation_accuracy"] for run in runs if run.height > num_late]
    rise = sum(accuracy[-1] - accuracy[-1 - num_late] for accuracy in accuracies) / max(len(accuracies), 1)
    advice = "Raise train.epochs; else the runs are compared by how fast they learn."
    if rise < SETTLED:
        advice = "More epochs may change little; a run with more train.epochs would tell."
    lately = f"last {num_late} epochs" if num_late > 1 else "last epoch"
    yield (
        f"The training may be too short: {len(last)} of {counted(len(runs), 'run')} were best in their last epoch; "
        f"over the {lately} validation accuracy still changed by {points(rise)} points. {advice}"
    )


def _was_learning(run: pl.DataFrame) -> bool:
    """Whether the last epoch of a run is its best, and has a step: a method may end its training without one."""
    had_steps = bool(run["num_steps"][-1] > run["num_steps"][-2])
    return had_steps and kept_epoch(run, "best")["epoch"] == run["epoch"][-1]


def split_remark(inputs: ReportInputs) -> Iterator[str]:
    """Whether validation and test differ by more than the numbers of their pairs explain."""
    runs = fused_runs(inputs.metrics, inputs.history, inputs.keep)
    runs = runs.filter(pl.col("method") == runs["method"][0]) if len(runs) else runs
    baseline = runs.filter(pl.col("scheduler") == inputs.baseline)
    runs = runs if baseline.is_empty() else baseline
    counts = [inputs.num_pairs.get(split, 0) for split in ("validation", "test")]
    if runs.is_empty() or not all(counts):
        return
    on_each = [float(runs[name].to_numpy().mean()) for name in ("validation_accuracy", "accuracy")]
    both = sum(share * number for share, number in zip(on_each, counts, strict=True)) / sum(counts)
    chance = sqrt(both * (1 - both) * sum(1 / number for number in counts))
    if abs(on_each[0] - on_each[1]) > NormalDist().inv_cdf((1 + CERTAINTY) / 2) * chance:
        validation, test = map(percent, on_each)
        yield (
            f"Validation and test are unlike: {validation} % and {test} % of {inputs.baseline} "
            f"order differ by more than {counts[0]:,} and {counts[1]:,} pairs explain by chance. The test pairs may "
            "be of another kind, or some of the training may be in validation; what is chosen there may not hold."
        )


def chance_remark(inputs: ReportInputs) -> Iterator[str]:
    """The runs and the modalities that are no better than always naming the majority class."""
    least = inputs.majority.accuracy
    weak = inputs.table.filter(pl.col("accuracy") <= least)
    found = [f"{row['run']} ({percent(row['accuracy'])} %)" for row in weak.to_dicts()]
    fused = inputs.table.filter(pl.col("output") == FUSED)
    for name in inputs.modalities:
        inside = fused[accuracy_inside(name)].drop_nulls() if accuracy_inside(name) in fused.columns else fused["low"]
        if len(inside) and inside.to_numpy().max() <= least:
            found.append(f"{name} inside every fused model")
    if found:
        yield f"No better than the majority class ({percent(least)} %): {listed(found)}."


def preference_remark(inputs: ReportInputs) -> Iterator[str]:
    """The classes that the score prefers, where it prefers some."""
    shares = class_share(inputs.scores, inputs.manifest)
    mean, ranked = sum(shares) / len(shares), class_means(inputs.scores, inputs.manifest)
    if mean < PREFERENCE or len(ranked) < 2:
        return
    num = min(NUM_NAMED, len(ranked) // 2)
    first, last = ([f"{name} ({score:+.2f})" for name, score in part] for part in (ranked[:num], ranked[-num:]))
    yield (
        f"The score prefers classes: {percent(mean)} % of its variance lies between them. Highest on average: "
        f"{listed(first)}; lowest: {listed(last)}. An order by the score brings some classes late."
    )
