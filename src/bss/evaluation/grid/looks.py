"""Which colour and dash a run has, the same in every chart and in the legend."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from bss.evaluation.page.canvas import SERIES, VARIABLES
from bss.evaluation.page.section import Legend
from bss.evaluation.page.words import run_name
from bss.types import FUSED

DASHES: tuple[tuple[float, ...], ...] = ((), (4, 1.6), (1, 1.4), (5, 1.4, 1, 1.4))
"""Lengths of stroke and gap, in line widths, of the first, second ... method."""


@dataclass(frozen=True)
class Look:
    """How one run is named and drawn."""

    method: str
    scheduler: str
    label: str
    """The name of the run for a reader."""
    colour: str
    dash: tuple[float, ...]

    @property
    def line(self) -> dict[str, Any]:
        """Keywords of a matplotlib line."""
        return {"color": self.colour, "linestyle": (0, self.dash) if self.dash else "-"}

    def rows(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The rows of this run."""
        return frame.filter(pl.col("method") == self.method, pl.col("scheduler") == self.scheduler)


def looks(metrics: pl.DataFrame, baseline: str, labels: Mapping[str, str] | None = None) -> list[Look]:
    """The look of every fused run: a colour a scheduler, the first for the baseline, and a dash a method.

    `labels` as for `run_name`.
    """
    runs = metrics.filter(pl.col("output") == FUSED).select("method", "scheduler").unique(maintain_order=True)
    methods = runs["method"].unique(maintain_order=True).to_list()
    others = [name for name in runs["scheduler"].unique(maintain_order=True) if name != baseline]
    return [
        Look(
            method,
            scheduler,
            run_name(method, scheduler, len(methods) > 1, labels or {}),
            SERIES[[baseline, *others].index(scheduler) % len(SERIES)],
            DASHES[methods.index(method) % len(DASHES)],
        )
        for method, scheduler in runs.iter_rows()
    ]


def legend(looks: Sequence[Look]) -> Legend:
    """Which line is which run."""
    return Legend([(look.label, VARIABLES[look.colour], look.dash) for look in looks])
