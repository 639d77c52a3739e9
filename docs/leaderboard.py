"""The leaderboard: `python -m docs.leaderboard NAME ...` writes its tables into docs/leaderboard.md.

Each NAME is a folder of results that `bss compare leaderboard --on DATA` left.
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from bss.errors import InputError
from bss.evaluation.comparing.statistics import paired_difference
from bss.evaluation.page.text import markdown
from bss.evaluation.page.words import interval, percent
from bss.evaluation.study.ranks import Accuracies, Ranks, common_rows, row_accuracies
from bss.exits import exits
from bss.files import write_text
from bss.paths import HERE
from bss.training.catalogue import FAMILIES, entry
from docs.marked import filled

PAGE = Path(__file__).parent / "leaderboard.md"
COMMAND = "python -m docs.leaderboard"
FIRST, BASE, OTHER = "joint", "random", "learned"
CONFIDENCE = 0.95


def written(text: str, found: Accuracies, samples: Mapping[str, float]) -> str:
    """The page with its tables made anew."""
    distance = f"Critical distance (95 %) of two mean ranks: {ranks(found).distance:.1f}."
    return filled(text, COMMAND, methods_table(found, samples), distance, families_table(found))


def methods_table(found: Accuracies, samples: Mapping[str, float]) -> str:
    """A row a method, the best mean rank in random order first; `samples` as `samples_to_first` gives them."""
    order = ranks(found)
    header = ["method", "family", "mean rank", "samples", *(f"{name}: to {FIRST}" for name in found)]
    header += [f"{name}: {OTHER} to {BASE}" for name in found]
    rows = []
    for place in order.order:
        method = order.rows[place]
        row = [method, entry(method).record.families[0], f"{order.means[place]:.1f}", f"{samples[method]:.2f}"]
        row += [_difference(runs[_row(method, BASE)], runs[_row(FIRST, BASE)]) for runs in found.values()]
        row += [_difference(runs[_row(method, OTHER)], runs[_row(method, BASE)]) for runs in found.values()]
        rows.append(row)
    return markdown(header, rows, 2)


def families_table(found: Accuracies) -> str:
    """A row a family and a column a data set: the mean of its methods in random order against joint."""
    methods = ranks(found).rows
    rows = []
    for family in FAMILIES:
        names = [name for name in methods if name != FIRST and entry(name).record.families[0] == family]
        if not names:
            continue
        cells = []
        for runs in found.values():
            of_family = np.mean([runs[_row(name, BASE)] for name in names], axis=0)
            cells.append(_difference(of_family, runs[_row(FIRST, BASE)]))
        rows.append([f"{family} ({len(names)})", *cells])
    return markdown(["family (methods)", *(f"{name}: to {FIRST}" for name in found)], rows)


def ranks(found: Accuracies) -> Ranks:
    """The methods, ranked in random order."""
    of_base = f" · {BASE}"
    return Ranks(
        {
            name: {row.removesuffix(of_base): values for row, values in runs.items() if row.endswith(of_base)}
            for name, runs in found.items()
        },
        CONFIDENCE,
    )


def read(names: Sequence[str]) -> Accuracies:
    """The accuracies that studies have left, of the rows that all of them have.

    Raises:
        InputError: one has left none.
    """
    found = {}
    for name in names:
        runs = pl.read_csv(_runs(name)).select("row", "seed", "accuracy")
        found[name.removeprefix("leaderboard-")] = row_accuracies(runs)
    return common_rows(found)[0]


def samples_to_first(names: Sequence[str]) -> dict[str, float]:
    """Method -> the samples it trains on in random order over those of `FIRST`, the mean over the studies."""
    shares = []
    for name in names:
        seen = dict(pl.read_csv(_runs(name)).group_by("row").agg(pl.col("num_samples").mean()).iter_rows())
        first, of_base = seen[_row(FIRST, BASE)], _row("", BASE)
        shares.append({row.removesuffix(of_base): seen[row] / first for row in seen if row.endswith(of_base)})
    return {method: float(np.mean([share[method] for share in shares if method in share])) for method in shares[0]}


def _runs(name: str) -> Path:
    path = HERE.studies / name / "runs.csv"
    if not path.is_file():
        raise InputError(f"{path} is missing; `bss compare leaderboard --on DATA` makes it")
    return path


def _row(method: str, scheduler: str) -> str:
    return f"{method} · {scheduler}"


def _difference(values: NDArray[np.float64], reference: NDArray[np.float64]) -> str:
    found = paired_difference(values, reference, CONFIDENCE)
    same = np.array_equal(values, reference)
    return percent(float(np.mean(values))) if same else interval(found.mean, found.low, found.high)


if __name__ == "__main__":
    with exits():
        if not sys.argv[1:]:
            raise InputError("name results of `bss compare leaderboard`, such as leaderboard-avdigits")
        studies = sys.argv[1:]
        page = written(PAGE.read_text(encoding="utf-8"), read(studies), samples_to_first(studies))
        write_text(page, PAGE)
