"""How long a run will still take, judged by what it has done so far."""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import fmean

from flows.graph.plan import Planned


class Pace:
    """The time left of a run: what remains takes as long as the like of it took.

    Args:
        planned: all that the run has to do.
        max_parallel: how much of it at a time.
        num_later: how much will be planned when that is done, each as long as the mean.
    """

    def __init__(self, planned: Sequence[Planned], max_parallel: int, num_later: int = 0) -> None:
        self._left = {stage.name for stage in planned if stage.stale}
        self._max_parallel, self._num_later = max_parallel, num_later

    def ended(self, name: str) -> None:
        """Count one as done, however it ended."""
        self._left.discard(name)

    def seconds_left(self, seconds: Mapping[str, float]) -> float | None:
        """Seconds until the end; None as long as nothing is known.

        Args:
            seconds: what has run -> how long that took.
        """
        if not seconds:
            return None
        of_kind = defaultdict(list)
        for name, taken in seconds.items():
            of_kind[_kind(name)].append(taken)
        mean = fmean(fmean(several) for several in of_kind.values())
        expected = [fmean(of_kind.get(_kind(name), [mean])) for name in self._left]
        return (sum(expected) + mean * self._num_later) / min(
            self._max_parallel, len(expected) + self._num_later or 1
        )


def as_text(seconds: float) -> str:
    """`2 h 05 min`, `12 min`, `40 s`."""
    minutes = round(seconds / 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    return f"{minutes} min" if seconds >= 90 else f"{round(seconds)} s"


def _kind(name: str) -> str:
    """What differs in its seed alone takes as long: `joint-random` for `joint-random-0`."""
    return re.sub(r"[-@ ]\d+$", "", name)
