"""What the cells of a reproduction have left so far, in the workspaces of their seeds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np

from bss.evaluation.artifacts import read_json
from bss.evaluation.comparing.statistics import PairedDifference, paired_difference
from bss.evaluation.reproduction.published import Row
from bss.paths import Cell, Workspace
from bss.types import FUSED, JUDGED, OWN


@dataclass(frozen=True)
class Reproduced:
    """One row: test accuracies in [0, 1], a value a seed that has ended, by both protocols."""

    row: Row
    chosen_on_test: tuple[float, ...]
    """Of the epoch that is best on test itself, as papers report it; too high."""
    by_validation: tuple[float, ...]
    """Of the epoch that is best on validation."""


@dataclass(frozen=True)
class Effort:
    """How much of the training is done."""

    num_done: int
    num_cells: int
    seconds: float
    """Of the trainings that ended here; what was restored from the cache of another run took none."""
    seconds_left: float | None
    """Of those that are left, so many at a time; None as long as nothing is known."""


def read_rows(rows: Sequence[Row], workspaces: Mapping[int, Workspace]) -> list[Reproduced]:
    """The rows, each with the seeds whose cells were judged by both protocols.

    Args:
        rows: in order.
        workspaces: seed -> where it works.

    Raises:
        InputError: a file is damaged.
    """
    return [
        _read(row, [place for place in workspaces.items() if _is_done(row.cell(place[0]), place[1])]) for row in rows
    ]


def effort(rows: Sequence[Row], workspaces: Mapping[int, Workspace], max_parallel: int) -> Effort:
    """How much is done; a training is expected to take as long as the same of another seed, or else as the mean."""
    known: dict[Cell, float] = {}
    left: list[Cell] = []
    cells = {row.cell(seed): workspace for seed, workspace in workspaces.items() for row in rows}
    for cell, workspace in cells.items():
        if not _is_done(cell, workspace):
            left.append(cell)
        elif workspace.seconds(cell).is_file():
            known[cell] = float(read_json(workspace.seconds(cell))["seconds"])
    expected = [_expected(cell, known) for cell in left] if known else []
    seconds_left = sum(expected) / min(max_parallel, len(left) or 1) if known or not left else None
    return Effort(len(cells) - len(left), len(cells), sum(known.values()), seconds_left)


def mean_interval(values: Sequence[float], confidence: float) -> PairedDifference | None:
    """The mean of a value a seed with Student's t interval; None without values."""
    return paired_difference(values, np.zeros(len(values)), confidence) if values else None


def _is_done(cell: Cell, workspace: Workspace) -> bool:
    return workspace.metrics(cell).is_file() and workspace.by_test(cell).is_file()


def _expected(cell: Cell, known: Mapping[Cell, float]) -> float:
    alike = [seconds for other, seconds in known.items() if other[:2] == cell[:2]]
    return fmean(alike or known.values())


def _read(row: Row, places: Sequence[tuple[int, Workspace]]) -> Reproduced:
    chosen, validated = [], []
    for seed, workspace in places:
        cell = row.cell(seed)
        validated.append(_accuracy(read_json(workspace.metrics(cell))["outputs"], row))
        chosen.append(max(_accuracy(outputs, row) for outputs in read_json(workspace.by_test(cell))["epochs"]))
    return Reproduced(row, tuple(chosen), tuple(validated))


def _accuracy(outputs: Mapping[str, Mapping[str, Any]], row: Row) -> float:
    """Of the output that counts: the row's, the method's own rule, the rule of `evaluate`, or the fusion."""
    name = row.output or next(name for name in (OWN, JUDGED, FUSED) if name in outputs)
    return float(outputs[name]["accuracy"])
