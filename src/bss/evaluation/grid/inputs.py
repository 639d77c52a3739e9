"""The inputs of the report: tables and words of a grid, wherever their files lie."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property

import polars as pl

from bss.evaluation.comparing.verdict import interval_note
from bss.evaluation.grid.looks import Look, looks
from bss.evaluation.grid.majority import Majority, majority_class
from bss.evaluation.grid.table import QUALITIES, summary_table
from bss.evaluation.page.section import Example

COLUMNS = {
    "metrics": f"method scheduler seed output {' '.join(QUALITIES)} num_steps num_samples",
    "history": "method scheduler seed epoch output validation_accuracy validation_loss validation_confidence",
    "predictions": "method scheduler seed id label output prediction",
    "scores": "seed index id label balance_score",
    "held_out": "seed balance_score",
    "pacing": "scheduler epoch fraction num_samples",
    "draws": "method scheduler seed index id num_draws",
    "manifest": "index id label class",
    "fusion_norms": "method scheduler seed output norm",
}
"""Columns that each frame must have; further ones are ignored."""


@dataclass(frozen=True, kw_only=True)
class ReportInputs:
    """A grid of runs on one data set.

    Outputs are "fused", "own" (what a method's own rule makes) or a modality. Runs of one modality alone have the
    method "unimodal" and no fused output. Counts of steps and samples are cumulative.

    Raises:
        ValueError: a frame lacks a column, or no run has metrics.
    """

    dataset: str
    """The title of the data set."""
    notes: tuple[str, ...]
    """Sentences that a reader must know of the data set."""
    classes: tuple[str, ...]
    modalities: tuple[str, ...]
    num_pairs: Mapping[str, int]
    """Split -> number of pairs."""

    metrics: pl.DataFrame
    """Metrics on the test split, a row a run and output."""
    history: pl.DataFrame
    """A row a run, epoch and output."""
    predictions: pl.DataFrame
    """Predictions on the test split, a row a run, pair and output."""
    scores: pl.DataFrame
    """A row a seed and training pair."""
    held_out: pl.DataFrame
    """A row a seed and validation pair, its score in the scale of the training pairs; empty where none was taken."""
    pacing: pl.DataFrame
    """A row a scheduler and epoch, of one seed; `fraction` in [0, 1]."""
    draws: pl.DataFrame
    """A row a run and training pair: how often the pair was drawn in all epochs together."""
    manifest: pl.DataFrame
    """A row a training pair; `damaged`, where there is one, is a flag or says what was damaged."""

    examples: tuple[Example, ...]
    command: str
    """The command that repeats the grid."""
    parameters: Mapping[str, object]
    versions: Mapping[str, str]
    runtimes: tuple[str, ...]
    """Device, precision and threads of the trainings, each once."""
    commit: str
    """The commit of the code and the parameters; "-" where they are in no commit."""
    baseline: str
    """The scheduler that differences are to."""
    confidence: float
    """Confidence of all intervals, in (0, 1)."""
    rule: str
    """The rule that made the multimodal predictions, see `Evaluate.rule`; tables call them the output "fused"."""
    keep: str
    """Which epoch training kept, `best` on validation or `last`, see `train.keep`."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """Name of a scheduler or a method -> how a reader sees it, where that is another one."""
    fusion_norms: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=COLUMNS["fusion_norms"].split()))
    """A row a run and modality: the Frobenius norm of the fusion's weights on it, where they are apart."""

    def __post_init__(self) -> None:
        for each in fields(self):
            if each.name in COLUMNS:
                check_columns(each.name, getattr(self, each.name))
        if self.metrics.is_empty():
            raise ValueError("metrics has no row: a report needs at least one evaluated run")

    @cached_property
    def table(self) -> pl.DataFrame:
        """The runs in means over their seeds, as `summary_table` gives them."""
        return summary_table(self.metrics, self.baseline, self.confidence, self.labels)

    @cached_property
    def looks(self) -> list[Look]:
        """How each fused run is named and drawn."""
        return looks(self.metrics, self.baseline, self.labels)

    @property
    def interval_note(self) -> str:
        """How the intervals of differences are made, and what they cover."""
        return interval_note(self.confidence, len(self.seeds), self.table["low"])

    @cached_property
    def majority(self) -> Majority:
        """What a model that always names the most frequent class of the training split reaches on the test split."""
        return majority_class(self.manifest["label"], self.predictions, self.classes)

    @property
    def seeds(self) -> list[int]:
        """The seeds of the runs, in ascending order."""
        return sorted(self.metrics["seed"].unique())

    @property
    def first_seed(self) -> int:
        """The least of the seeds that have scores; where one stands for all, it is this one."""
        return int(min(self.scores["seed"]))


def joined(parts: Sequence[ReportInputs], command: str) -> ReportInputs:
    """Several grids that differ in their seeds alone as one; what is of one seed is that of the first."""
    frames = ("metrics", "history", "predictions", "scores", "held_out", "draws", "fusion_norms")
    runtimes = tuple(sorted({runtime for part in parts for runtime in part.runtimes}))
    return replace(
        parts[0],
        command=command,
        runtimes=runtimes,
        **{name: pl.concat([getattr(part, name) for part in parts]) for name in frames},
    )


def check_columns(name: str, frame: pl.DataFrame) -> None:
    """Raise ValueError where a frame lacks one of its COLUMNS."""
    missing = [column for column in COLUMNS[name].split() if column not in frame.columns]
    if missing:
        raise ValueError(f"{name} lacks the columns {', '.join(missing)}; it has {', '.join(frame.columns)}")
