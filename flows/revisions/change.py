"""How the accuracies of the rows of a grid have changed."""

from collections.abc import Mapping

from bss.evaluation.page.words import percent, points

Accuracies = Mapping[str, float]
"""Row -> accuracy in [0, 1]."""


def change_table(before: Accuracies, now: Accuracies) -> list[tuple[str, str, str, str]]:
    """Every row with its accuracies in percent, before and now, and the gain in points."""
    rows = [*now, *(row for row in before if row not in now)]
    return [(row, percent(before.get(row)), percent(now.get(row)), points(gain(row, before, now))) for row in rows]


def gain(row: str, before: Accuracies, now: Accuracies) -> float | None:
    """By how much the accuracy of a row has grown; None where it was not there before, or is not now."""
    return now[row] - before[row] if row in before and row in now else None
