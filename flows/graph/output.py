"""Sorts the lines that a stage prints: noise, progress, and why it failed."""

import re
from dataclasses import dataclass
from typing import Self

_NOISE = re.compile(
    r"\s*$|To track the changes with git|\s*git add |To enable auto staging|\s*dvc config core\.autostage"
    r"|Use `dvc push`|Updating lock file|Generating lock file|WARNING: Process .* in RWLock-file .* had been killed"
)
_BEGUN = re.compile(r"Running stage '(?P<stage>.+)':$")
_FAILED = re.compile(r"ERROR: failed to reproduce .*, (?P<exit>exited with (?P<status>-?\d+))$")
_PROGRESS = re.compile(r"progress (?P<done>\d+)/(?P<total>[1-9]\d*)(?P<figures>( [^\s=]+=\S+)*)\s*$")
WARNING = "warning: "
"""What a line begins with that a person should see though the stage goes on."""


@dataclass(frozen=True)
class Progress:
    """A line `progress 3/12 loss=0.53`: steps done, steps in all, and figures to show beside them."""

    done: int
    total: int
    figures: str

    @classmethod
    def parse(cls, line: str) -> Self | None:
        """The progress that a line reports, if it is such a line."""
        if (match := _PROGRESS.match(line)) is None:
            return None
        return cls(int(match["done"]), int(match["total"]), match["figures"].strip())

    @property
    def percent(self) -> float:
        """Share done, in [0, 100]."""
        return min(100.0, 100.0 * self.done / self.total)

    @property
    def brief(self) -> str:
        """The figures with shorter names, for a card: `loss` is of training, `accuracy` of validation."""
        return re.sub(r"\b(train|validation)_", "", self.figures)


def begun(line: str) -> str | None:
    """The stage that begins, if the line says so."""
    return match["stage"] if (match := _BEGUN.match(line)) is not None else None


def reason(line: str) -> str | None:
    """The part of a line that explains a failure; lines of DVC, which repeat the command, only have its exit code."""
    if line.startswith(("Running stage '", "> ")):
        return None
    return match["exit"] if (match := _FAILED.match(line)) else line


def tells_a_kill(line: str) -> bool:
    """Whether a line of DVC says that a signal ended the command of the stage."""
    # A shell adds 128 to the number of the signal; Python makes it negative.
    return (match := _FAILED.match(line)) is not None and not 0 <= int(match["status"]) <= 128


def is_noise(line: str) -> bool:
    """Whether a line is empty, or one of the hints that DVC prints every time."""
    return _NOISE.match(line) is not None


def shortcut(line: str) -> str | None:
    """How DVC spared itself a run, if the line says so: `Restored` from the run-cache, or `Unchanged`."""
    if not line.startswith("Stage '"):
        return None
    if "is cached - skipping run" in line:
        return "Restored"
    return "Unchanged" if line.rstrip().endswith("didn't change, skipping") else None
