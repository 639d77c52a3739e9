"""The figures of a benchmark, with their range and their goals."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

HEAD = "| figure | median [smallest, largest] | rounds | goal |\n| --- | --: | --: | --- |"


class Unavailable(RuntimeError):
    """The benchmark needs data or a device that is not here."""


@dataclass(frozen=True)
class Figure:
    """One measured quantity; `goal` is ("at most" or "at least", a number), None where there is none."""

    what: str
    values: Sequence[float]
    unit: str = ""
    goal: tuple[str, float] | None = None

    @property
    def extent(self) -> str:
        """The median, and the smallest and largest where it was measured more than once."""
        middle = f"{median(self.values):.3g}{self.unit}"
        extremes = f" [{min(self.values):.3g}, {max(self.values):.3g}]" if len(self.values) > 1 else ""
        return middle + extremes

    @property
    def verdict(self) -> str:
        """The goal, and whether the median reached it."""
        if self.goal is None:
            return "-"
        word, bound = self.goal
        reached = median(self.values) <= bound if word == "at most" else median(self.values) >= bound
        return f"{word} {bound:.3g}{self.unit}: {'reached' if reached else 'MISSED'}"

    @property
    def row(self) -> str:
        """A row of a Markdown table, below HEAD."""
        return f"| {self.what} | {self.extent} | {len(self.values)} | {self.verdict} |"


def ratios(above: Sequence[float], below: Sequence[float]) -> list[float]:
    """The ratio of each round."""
    return [first / second for first, second in zip(above, below, strict=True)]
