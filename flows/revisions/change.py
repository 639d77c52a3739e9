"""How the accuracies of the rows of a grid have changed, seed by seed: other seeds would give other means."""

from collections.abc import Mapping
from statistics import fmean

from bss.evaluation.page.words import ABSENT, percent, points

Accuracies = Mapping[str, Mapping[str, float]]
"""Row -> seed -> accuracy in [0, 1]."""


def change_table(before: Accuracies, now: Accuracies) -> list[tuple[str, str, str, str, str]]:
    """Every row: mean accuracy in percent before and now, the gain in points, and the seeds of that, which both have.

    Where they have none in common the means are over the seeds of each, and there is no gain.
    """
    rows = [*now, *(row for row in before if row not in now)]
    return [_changed(row, before, now) for row in rows]


def common(row: str, before: Accuracies, now: Accuracies) -> list[str]:
    """The seeds of a row that both have."""
    return [seed for seed in now.get(row, {}) if seed in before.get(row, {})]


def gain(row: str, before: Accuracies, now: Accuracies) -> float | None:
    """By how much the accuracy of a row has grown, mean over the seeds that both have; None where there are none."""
    if not (seeds := common(row, before, now)):
        return None
    return fmean(now[row][seed] - before[row][seed] for seed in seeds)


def mean(accuracies: Mapping[str, float], seeds: list[str] | None = None) -> float | None:
    """The mean over these seeds, or over all where none is named; None where the row has no accuracy."""
    values = [accuracies[seed] for seed in seeds or accuracies]
    return fmean(values) if values else None


def _changed(row: str, before: Accuracies, now: Accuracies) -> tuple[str, str, str, str, str]:
    seeds = common(row, before, now)
    was, is_now = (percent(mean(accuracies.get(row, {}), seeds)) for accuracies in (before, now))
    return (row, was, is_now, points(gain(row, before, now)), ", ".join(seeds) or ABSENT)
