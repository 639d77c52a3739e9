"""The result of a study: many rows against one baseline."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from bss.evaluation.comparing.variant import Variant
from bss.evaluation.comparing.verdict import interval_note
from bss.evaluation.page.words import run_name

Row = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A study's table with all that a page of it says."""

    name: str
    about: tuple[str, ...]
    dataset: str
    notes: tuple[str, ...]
    """Sentences that a reader must know of the data set."""
    remarks: tuple[str, ...]
    """What a reader has to know before they trust the runs, see `remarks`."""
    num_pairs: Mapping[str, int]
    variants: Sequence[Variant]
    runs: pl.DataFrame
    """A row a run, see `fused_runs`."""
    table: pl.DataFrame
    """A row a method and variant, see `comparison_table`."""
    baseline: str
    confidence: float
    command: str
    parameters: Mapping[str, object]
    rule: str
    """The rule that made the multimodal predictions, see `Evaluate.rule`."""
    chosen_of: Mapping[str, str] = field(default_factory=dict)
    """Name of a method whose fields were chosen -> the method."""

    @property
    def has_methods(self) -> bool:
        """Whether the rows are of several methods."""
        return self.table["method"].n_unique() > 1

    def label(self, row: Row) -> str:
        """The label of a row of `table`, for a reader."""
        return run_name(row["method"], row["scheduler"], self.has_methods, self.labels)

    @property
    def labels(self) -> dict[str, str]:
        """Name of a scheduler or a method in params.yaml -> how a reader sees it, on this page and in the report."""
        return {variant.name: variant.label for variant in self.variants} | dict(self.chosen_of)

    @property
    def interval_note(self) -> str:
        """How the intervals of differences are made, and what they cover."""
        num_seeds = int(self.runs["seed"].n_unique())
        return interval_note(self.confidence, num_seeds, self.table["low"], self.num_folds)

    @property
    def num_folds(self) -> int | None:
        """Folds of the runs; None where all are of one split."""
        has_folds = "fold" in self.runs.columns and self.runs["fold"].null_count() == 0
        return int(self.runs["fold"].n_unique()) if has_folds else None

    @property
    def repeat(self) -> str:
        """What the pairs of a difference are of: `seed` or `fold`."""
        return "fold" if self.num_folds else "seed"

    @property
    def num_seeds(self) -> int:
        """Pairs of a difference: the folds or, of one split, the seeds of the runs."""
        return self.num_folds or int(self.runs["seed"].n_unique())

    @property
    def named_runs(self) -> pl.DataFrame:
        """`runs` with the label of their row as the first column, `row`."""
        of_row = [(row["method"], row["scheduler"], self.label(row)) for row in self.table.iter_rows(named=True)]
        labels = pl.DataFrame(of_row, schema=["method", "scheduler", "row"], orient="row")
        runs = self.runs.join(labels, on=["method", "scheduler"], how="left", maintain_order="left")
        return runs.select("row", pl.exclude("row"))
