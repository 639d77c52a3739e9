"""What warm-up objectives lead to: `python -m docs.objectives NAME ...`, each a result of `bss compare objectives`.

It prints the rows of all, side by side, and how far each objective's ranking of the training pairs lies from that of
the first one.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
import polars as pl

from bss.errors import InputError
from bss.evaluation.comparing.statistics import summary
from bss.evaluation.diff.scores import ScoreDifference, score_difference
from bss.evaluation.page.text import markdown
from bss.evaluation.page.words import interval, mean_sd
from bss.exits import exits
from bss.paths import HERE, Workspace

TENTH = 0.1


def table(names: Sequence[str]) -> str:
    """A row a method and order, a column an objective: test accuracy, and the difference to random order.

    Raises:
        InputError: a study has left no table.
    """
    found = {name: {(str(row["method"]), str(row["label"])): row for row in _rows(name)} for name in names}
    keys = list(found[names[0]])
    cells = [[" · ".join(key), *(_cell(found[name].get(key)) for name in names)] for key in keys]
    return markdown(["test %, and points to random", *names], cells)


def movement(names: Sequence[str]) -> str:
    """How the ranking of each study's training pairs differs from that of the first, in means over the seeds.

    Raises:
        InputError: a study's workspaces are gone, or have no seed in common with the first one's.
    """
    first = scores(names[0])
    rows = []
    for name in names[1:]:
        other = scores(name)
        common = sorted(first.keys() & other.keys())
        if not common:
            raise InputError(f"{names[0]} and {name} have no seed in common")
        rows.append([name, *moved([score_difference(seed, first[seed], other[seed]) for seed in common])])
    for name in names:
        tables = scores(name).values()
        if len(tables) > 1:
            pairs = pairwise(tables)
            rows.append([f"{name}, seed to seed", *moved([score_difference(0, *pair) for pair in pairs])])
    header = [f"to {names[0]}", "Spearman", "best tenth in common", "worst tenth in common", "mean movement"]
    return markdown(header, rows)


def moved(found: Sequence[ScoreDifference]) -> list[str]:
    """Mean ± standard deviation of rank correlation and overlaps, and of how far a pair moves, in [0, 1]."""
    tenths = [next(overlap for overlap in one.overlaps if overlap.share == TENTH) for one in found]
    values = (
        [one.correlation for one in found],
        [tenth.most for tenth in tenths],
        [tenth.least for tenth in tenths],
        [float(np.abs(one.moved["movement"].to_numpy()).mean()) for one in found],
    )
    return ["{:.2f} ± {:.2f}".format(*summary(numbers)) for numbers in values]


def scores(name: str) -> dict[int, pl.DataFrame]:
    """Seed -> the scores of a study's workspace, with the columns of `score_difference`."""
    found = {}
    for folder in sorted((HERE.temporary / "compare" / name).glob("seed-*")):
        place, seed = Workspace(folder), int(folder.name.rpartition("-")[2])
        manifest = pl.read_parquet(place.packed / "train" / "manifest.parquet", columns=["id", "class"])
        found[seed] = pl.read_parquet(place.scores(seed)).with_columns(manifest["class"])
    if not found:
        raise InputError(f"{name}: its workspaces are gone; `bss compare objectives --name {name}` makes them")
    return found


def _rows(name: str) -> list[Mapping[str, object]]:
    path = HERE.studies / name / "table.json"
    if not path.is_file():
        raise InputError(f"{path} is missing; `bss compare objectives --name {name}` makes it")
    rows: list[Mapping[str, object]] = json.loads(path.read_text(encoding="utf-8"))
    return rows


def _cell(row: Mapping[str, object] | None) -> str:
    if row is None:
        return "-"
    accuracy = mean_sd(row["accuracy"], row["accuracy_sd"])  # type: ignore[arg-type]
    if row["difference"] is None:
        return accuracy
    return f"{accuracy}; {interval(row['difference'], row['low'], row['high'])}"  # type: ignore[arg-type]


if __name__ == "__main__":
    with exits():
        if not sys.argv[1:]:
            raise InputError("name results of `bss compare objectives`, the one that others are compared with first")
        print(table(sys.argv[1:]), movement(sys.argv[1:]), sep="\n\n")  # noqa: T201
