"""Which rows rank first, over seeds and over data sets, and how far two must lie apart."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from bss.errors import InputError
from bss.evaluation.comparing.statistics import critical_distance, mean_ranks
from bss.evaluation.page.canvas import INK, SERIES, WIDE, Chart, canvas, finish, name_rows, row_height
from bss.evaluation.page.section import Charts, Code, Section
from bss.evaluation.page.template import rendered
from bss.evaluation.page.text import markdown
from bss.evaluation.page.words import level, listed
from bss.files import write_text


def row_accuracies(runs: pl.DataFrame) -> dict[str, NDArray[np.float64]]:
    """Row of a comparison -> the accuracy of each of its seeds, all rows with the same seeds in the same order.

    Args:
        runs: columns row, seed, accuracy.

    Raises:
        InputError: a row lacks a seed that another has.
    """
    found = {row: of_row.sort("seed") for (row,), of_row in runs.group_by("row", maintain_order=True)}
    seeds = [each["seed"].to_list() for each in found.values()]
    if any(each != seeds[0] for each in seeds):
        raise InputError("not all rows were run with the same seeds: ranks compare them seed by seed")
    return {str(row): each["accuracy"].to_numpy() for row, each in found.items()}


Accuracies = Mapping[str, Mapping[str, NDArray[np.float64]]]
"""Data set -> row -> accuracy of each seed in [0, 1], see `row_accuracies`."""


def common_rows(accuracies: Accuracies) -> tuple[Accuracies, list[str]]:
    """The rows that all data sets have, and the names of the others.

    Raises:
        InputError: there are fewer than two.
    """
    first, *others = accuracies.values()
    common = [row for row in first if all(row in rows for rows in others)]
    if len(common) < 2:
        raise InputError(f"{', '.join(accuracies)} have {len(common)} rows in common, and ranks need two")
    rest = dict.fromkeys(row for rows in accuracies.values() for row in rows if row not in common)
    return {name: {row: rows[row] for row in common} for name, rows in accuracies.items()}, list(rest)


@dataclass(frozen=True)
class Ranks:
    """Rows ranked in every block, a block being one seed on one data set.

    Raises:
        InputError: the data sets have other rows.
    """

    accuracies: Accuracies
    confidence: float

    def __post_init__(self) -> None:
        first, *others = self.accuracies
        for other in others:
            if different := {*self.rows} ^ {*self.accuracies[other]}:
                raise InputError(f"{first} and {other} do not have the same rows: {', '.join(sorted(different))}")

    @property
    def rows(self) -> list[str]:
        """The rows, in the order of the first data set."""
        return list(next(iter(self.accuracies.values())))

    def blocks(self, dataset: str) -> NDArray[np.float64]:
        """The accuracies on one data set, shape (seeds, rows)."""
        return np.array([self.accuracies[dataset][row] for row in self.rows]).T

    @property
    def means(self) -> NDArray[np.float64]:
        """The mean rank of each row over all blocks, 1 the best."""
        return mean_ranks(np.concatenate([self.blocks(dataset) for dataset in self.accuracies]))

    @property
    def distance(self) -> float:
        """How far two mean ranks must lie apart to be told apart (Nemenyi)."""
        return critical_distance(len(self.rows), sum(map(self._num_seeds, self.accuracies)), self.confidence)

    @property
    def order(self) -> NDArray[np.intp]:
        """The places of the rows in `rows`, the best first."""
        return np.argsort(self.means, kind="stable")

    def chart(self) -> Chart:
        """The mean ranks, each in a bar as wide as the critical distance."""
        means, half, order = self.means, self.distance / 2, self.order
        names = [self.rows[row] for row in order]
        with canvas(WIDE, 0.9 + row_height(names) * len(names)) as (figure, axes):
            for place, row in enumerate(order):
                axes.plot(
                    means[row] + np.array([-half, half]), [place] * 2, color=SERIES[1], linewidth=2.4, alpha=0.55
                )
                axes.plot(means[row], place, "o", color=SERIES[1], markersize=5)
            axes.axvline(means[order[0]] + half, color=INK, linewidth=0.8, linestyle=":")
            name_rows(axes, names)
            axes.set_xlabel(f"mean rank over {self._blocks_in_words}, 1 the best")
            caption = (
                f"Two rows are told apart (Nemenyi, {level(self.confidence)}) where their bars, the critical "
                f"distance {self.distance:.1f} wide, do not overlap; the dotted line is the end of the best row's "
                f"bar. {self._caution}"
            )
            return finish(figure, "Ranks", caption)

    def table(self) -> str:
        """Mean rank of every row on each data set and on all, the best first, in Markdown."""
        by_dataset = [mean_ranks(self.blocks(dataset)) for dataset in self.accuracies]
        columns = [self.means, *by_dataset] if len(by_dataset) > 1 else by_dataset
        header = ("row", *(["all"] if len(by_dataset) > 1 else []), *self.accuracies)
        return markdown(header, [(self.rows[row], *(f"{ranks[row]:.1f}" for ranks in columns)) for row in self.order])

    def _num_seeds(self, dataset: str) -> int:
        return len(self.blocks(dataset))

    @property
    def _blocks_in_words(self) -> str:
        counts = sorted({*map(self._num_seeds, self.accuracies)})
        seeds = f"{' or '.join(map(str, counts))} seeds"
        return seeds if len(self.accuracies) == 1 else f"{seeds} on each of {len(self.accuracies)} data sets"

    @property
    def _caution(self) -> str:
        if len(self.accuracies) == 1:
            return "The seeds share one data set, so this speaks of that data set alone."
        return (
            f"Each seed on each of {listed([*self.accuracies])} is a block; the seeds of a data set are not "
            "independent, so the distance is smaller than one from as many data sets would be."
        )


def write_ranks(ranks: Ranks, title: str, command: str, folder: Path) -> None:
    """Write `ranks.md` and `ranks.html`."""
    sections = [
        Section("", [Charts([ranks.chart()], look="wide")]),
        Section("Repeat", [Code("Command", command)], heading="How to repeat"),
    ]
    heading = f"{title}: ranks"
    write_text(rendered(heading, heading, (), sections), folder / "ranks.html")
    distance = f"Critical distance ({level(ranks.confidence)}): {ranks.distance:.1f}"
    write_text(f"{ranks.table()}\n\n{distance}\n", folder / "ranks.md")
