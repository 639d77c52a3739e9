"""The fused validation accuracy of every row of the grid, seed by seed: what a change may not cost."""

import json
from collections.abc import Sequence

from bss.errors import InputError, Unavailable
from bss.evaluation.page.words import percent
from bss.health import git_problem
from bss.paths import HERE, Cell, Workspace
from flows.revisions import git_commands as git
from flows.revisions.change import Accuracies, common, gain, mean

TOLERANCE = 1e-9
"""In points: a drop of just the limit is none too many, whatever its last bit."""


def now(workspace: Workspace = HERE) -> Accuracies:
    """METHOD-SCHEDULER -> seed -> that of the kept epoch, in the report of a workspace, by default the current one.

    Raises:
        InputError: the report is of an earlier version, or damaged.
    """
    return _accuracies(workspace.validation.read_bytes(), f"{workspace.validation}", "run the stage report again")


def at(revision: str) -> Accuracies:
    """The accuracies in the report of a git revision; empty if it had none.

    Raises:
        InputError: there is no such revision, or its report does not say what each seed had.
    """
    if git.commit(revision) is None:
        if (problem := git_problem(HERE.folder)) is not None:
            raise Unavailable(f"--base {revision!r}: {problem}")
        raise InputError(f"--base {revision!r}: no such revision; for example HEAD~1 or origin/main, fetched before")
    try:
        report = git.content(revision, HERE.validation)
    except Unavailable:
        return {}
    remedy = "take a later base, or run the stage report there and commit"
    return _accuracies(report, f"--base {revision!r}: its {HERE.validation}", remedy)


def expect_common_seeds(before: Accuracies, cells: Sequence[Cell]) -> None:
    """Refuse a base that no cell of the grid can be compared with; one without a report has nothing to lose.

    Raises:
        InputError: no row has a seed in common with the base; the message has the seeds, or the rows, of both.
    """
    grid: dict[str, dict[str, float]] = {}
    for cell in cells:
        grid.setdefault(f"{cell.method}-{cell.scheduler}", {})[str(cell.seed)] = 0.0
    if not before or any(common(row, before, grid) for row in grid):
        return
    if shared := [row for row in grid if row in before]:
        of_base, here = (", ".join(rows[shared[0]]) for rows in (before, grid))
        raise InputError(
            f"grid.seeds: {here}, and the base has {of_base}: none in common, so nothing can be compared; "
            "name one of the base's, or another base"
        )
    raise InputError(
        f"the grid has the rows {', '.join(grid)}, and the base {', '.join(before)}: none in common, so nothing can "
        "be compared; keep one of the base's in grid, or name another base"
    )


def drops(before: Accuracies, now: Accuracies, max_drop: float) -> list[str]:
    """A line for every row that has lost more than `max_drop` points, the mean over the seeds that both have."""
    losses = {row: -100 * (gain(row, before, now) or 0.0) for row in now}
    return [
        f"{row}: fused validation accuracy {_percent(row, before, now)} -> {_percent(row, now, before)} %, "
        f"{loss:.1f} points less; ci.max_drop allows {max_drop:g}"
        for row, loss in losses.items()
        if loss > max_drop + TOLERANCE
    ]


def _percent(row: str, accuracies: Accuracies, others: Accuracies) -> str:
    """The mean of a row over the seeds that the others have as well."""
    return percent(mean(accuracies[row], common(row, accuracies, others)))


def _accuracies(report: bytes, origin: str, remedy: str) -> Accuracies:
    try:
        rows = json.loads(report)
        accuracies = {f"{method}-{name}": dict(seeds) for method, row in rows.items() for name, seeds in row.items()}
    except (ValueError, TypeError, AttributeError):
        message = "does not say the accuracy of each seed (it is of an earlier version, or damaged)"
        raise InputError(f"{origin} {message}; {remedy}") from None
    return accuracies
