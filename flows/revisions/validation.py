"""The fused validation accuracy of every row of the grid: what a change may not cost."""

import json
import subprocess
from collections.abc import Mapping

from bss.errors import InputError
from bss.paths import HERE

Accuracies = Mapping[str, float]
"""METHOD-SCHEDULER -> accuracy of the kept epoch in [0, 1], mean over seeds."""
TOLERANCE = 1e-9
"""In points: a drop of just the limit is none too many, whatever its last bit."""


def now() -> Accuracies:
    """What the report of the current workspace says."""
    return _rows(HERE.validation.read_text(encoding="utf-8"))


def at(revision: str) -> Accuracies:
    """What the report of a git revision says; empty if it had none.

    Raises:
        InputError: there is no such revision.
    """
    commit = ["git", "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}"]
    if subprocess.run(commit, check=False, capture_output=True).returncode:
        raise InputError(f"--base {revision!r}: no such revision; for example HEAD~1 or origin/main, fetched before")
    show = ["git", "show", f"{revision}:./{HERE.validation}"]
    found = subprocess.run(show, check=False, capture_output=True, encoding="utf-8")
    return _rows(found.stdout) if found.returncode == 0 else {}


def differences(base: Accuracies, own: Accuracies) -> dict[str, float]:
    """What each row that both have has gained, in points."""
    return {row: 100 * (own[row] - base[row]) for row in own if row in base}


def drops(base: Accuracies, own: Accuracies, max_drop: float) -> list[str]:
    """A line for every row that has lost more than `max_drop` points."""
    return [
        f"{row}: fused validation accuracy {100 * base[row]:.1f} -> {100 * own[row]:.1f} %, "
        f"{-gain:.1f} points less; ci.max_drop allows {max_drop:g}"
        for row, gain in differences(base, own).items()
        if -gain > max_drop + TOLERANCE
    ]


def _rows(text: str) -> Accuracies:
    found = json.loads(text)
    return {f"{method}-{name}": accuracy for method, own in found.items() for name, accuracy in own.items()}
