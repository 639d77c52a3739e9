"""How far something long has come: a bar with the remaining time on a terminal, else a plain line now and then."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

SECONDS_BETWEEN = 10.0
"""Lines; what takes less has none."""


@contextmanager
def progress(total: int | None, what: str, unit: str) -> Iterator[Callable[[int], object]]:
    """A function to call with the number of things just done; it writes to stderr.

    Args:
        total: how many there are; None is not known.
        what: is done, two words.
        unit: of the numbers, in the plural.
    """
    if not sys.stderr.isatty():
        yield _Lines(total, what, unit).advance
        return
    from tqdm import tqdm

    with tqdm(total=total, desc=what, unit=f" {unit}", unit_scale=unit == "bytes") as bar:
        yield bar.update


class _Lines:
    """A line with the percentage and the remaining time, ten seconds after the last."""

    def __init__(self, total: int | None, what: str, unit: str) -> None:
        self.total, self.what, self.unit = total, what, unit
        self.done = 0
        self.start = self.last = time.monotonic()

    def advance(self, number: int) -> None:
        self.done += number
        if (now := time.monotonic()) - self.last >= SECONDS_BETWEEN:
            self.last = now
            print(f"{self.what}: {self._state(now - self.start)}", file=sys.stderr, flush=True)  # noqa: T201

    def _state(self, seconds: float) -> str:
        if not self.total:
            return f"{self.done} {self.unit}"
        left = seconds / self.done * (self.total - self.done)
        return f"{self.done} of {self.total} {self.unit} ({self.done / self.total:.0%}), {left:.0f} s left"
