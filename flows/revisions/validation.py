"""The fused validation accuracy of every row of the grid: what a change may not cost."""

import json

from bss.errors import InputError, Unavailable
from bss.evaluation.page.words import percent
from bss.paths import HERE
from flows.revisions import git_commands as git
from flows.revisions.change import Accuracies, gain

TOLERANCE = 1e-9
"""In points: a drop of just the limit is none too many, whatever its last bit."""


def now() -> Accuracies:
    """METHOD-SCHEDULER -> the mean over seeds, of the kept epochs, in the report of the current workspace."""
    return _accuracies(HERE.validation.read_bytes())


def at(revision: str) -> Accuracies:
    """The accuracies in the report of a git revision; empty if it had none.

    Raises:
        InputError: there is no such revision.
    """
    if git.commit(revision) is None:
        raise InputError(f"--base {revision!r}: no such revision; for example HEAD~1 or origin/main, fetched before")
    try:
        return _accuracies(git.content(revision, HERE.validation))
    except Unavailable:
        return {}


def drops(before: Accuracies, now: Accuracies, max_drop: float) -> list[str]:
    """A line for every row that has lost more than `max_drop` points."""
    losses = {row: -100 * (gain(row, before, now) or 0.0) for row in now}
    return [
        f"{row}: fused validation accuracy {percent(before[row])} -> {percent(now[row])} %, "
        f"{loss:.1f} points less; ci.max_drop allows {max_drop:g}"
        for row, loss in losses.items()
        if loss > max_drop + TOLERANCE
    ]


def _accuracies(report: bytes) -> Accuracies:
    rows = json.loads(report)
    return {f"{method}-{name}": accuracy for method, row in rows.items() for name, accuracy in row.items()}
