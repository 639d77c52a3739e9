"""What a run prints: a line for each stage that had to run, and why one failed."""

import os
import shutil
import sys
import textwrap
from collections.abc import Sequence
from typing import Any

from prefect.client.schemas.objects import State

from flows.graph.plan import Planned, counted


def num_columns() -> int:
    """How wide a line may be: COLUMNS of the environment or the width of the terminal, in [40, 80]."""
    return max(40, min(80, shutil.get_terminal_size().columns))


def tell(line: str) -> None:
    """Print a line at once; where nobody reads any more, such as a worker that was killed, the run goes on."""
    try:
        print(line, flush=True)
    except BrokenPipeError:
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, sys.stdout.fileno())
        os.close(nothing)


class Terminal:
    """The lines of a run, in at most 80 columns."""

    def __init__(self, planned: Sequence[Planned]) -> None:
        self._num_stale = sum(stage.stale for stage in planned)
        self._num_ended = 0
        tell(counted(planned))

    def show(self, stage: str, state: State[Any]) -> None:
        """Print how a stage ended, unless it was not run; those are counted in the last line."""
        if state.name in {"Cached", "NotReady"}:
            return
        self._num_ended += 1
        count = f"{self._num_ended:>{len(str(self._num_stale))}}/{self._num_stale}"
        note = "" if state.is_failed() else state.message or ""
        room = num_columns() - len(f"{count} {state.name:<9}  ") - len(note) - 1
        tell(f"{count} {state.name:<9} {_cut(stage, room):<{room}} {note}".rstrip())
        if state.is_failed():
            tell(textwrap.indent(state.message or "", "    "))


def _cut(name: str, length: int) -> str:
    """A name that fits; its end stays, because the seed stands there."""
    return name if len(name) <= length else f"{name[: length // 2]}…{name[-(length - length // 2 - 1) :]}"
