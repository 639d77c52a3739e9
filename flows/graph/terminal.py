"""What a run prints: a line for each stage that had to run, and why one failed."""

import os
import shutil
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from prefect.client.schemas.objects import State
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

from flows.graph.pace import Pace, as_text
from flows.graph.plan import Planned, counted

WORTH_SAYING = 20.0
"""Seconds left from which on they are said."""


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
    """The lines of a run, in at most 80 columns; on a terminal with a bar below them.

    Args:
        planned: all that the run has to do.
        pace: of it.
    """

    def __init__(self, planned: Sequence[Planned], pace: Pace) -> None:
        self._pace = pace
        self._num_stale = sum(stage.stale for stage in planned)
        self._num_ended = 0
        self._shown: tuple[Progress, TaskID] | None = None
        self._warnings: set[str] = set()
        tell(counted(planned))

    @contextmanager
    def bar(self) -> Iterator[None]:
        """Show how much is done and how long the rest will take, as long as the block lasts."""
        if not sys.stdout.isatty() or not self._num_stale:
            yield
            return
        columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[left]}"))
        console = Console(width=num_columns(), highlight=False)
        with Progress(*columns, console=console, transient=True, refresh_per_second=1) as shown:
            self._shown = (shown, shown.add_task("", total=self._num_stale, left=""))
            yield
            self._shown = None

    def show(self, stage: str, state: State[Any], seconds: Mapping[str, float]) -> None:
        """Print how a stage ended, unless it was not run; those are counted in the last line.

        Args:
            stage: its name.
            state: its last one.
            seconds: what has run -> how long that took.
        """
        self._pace.ended(stage)
        if state.name in {"Cached", "NotReady"}:
            return
        self._num_ended += 1
        count = f"{self._num_ended:>{len(str(self._num_stale))}}/{self._num_stale}"
        left = self._pace.seconds_left(seconds)
        time_left = "" if left is None or left < WORTH_SAYING else f"{as_text(left)} left"
        note, *warnings = [""] if state.is_failed() else (state.message or "").split("\n")
        if self._shown is not None:
            shown, bar = self._shown
            shown.update(bar, completed=self._num_ended, left=time_left)
        elif note and time_left:
            note = f"{note}, {time_left}"
        room = num_columns() - len(f"{count} {state.name:<9}  ") - len(note) - 1
        tell(f"{count} {state.name:<9} {_cut(stage, room):<{room}} {note}".rstrip())
        if state.is_failed():
            tell(textwrap.indent(state.message or "", "    "))
        for warning in warnings:  # each once, though every training says it
            if warning not in self._warnings:
                self._warnings.add(warning)
                tell(textwrap.fill(warning, num_columns(), initial_indent="    ", subsequent_indent="    "))


def _cut(name: str, length: int) -> str:
    """A name that fits; its end stays, because the seed stands there."""
    return name if len(name) <= length else f"{name[: length // 2]}…{name[-(length - length // 2 - 1) :]}"
