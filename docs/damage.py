"""Gain against damage: `python -m docs.damage` writes the tables of docs/damage.md and a figure of each data set.

They are made of what `python -m docs.runs damage-DATA` keeps; kinds and shares that were not run stay empty.
"""

from collections import defaultdict
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Any

import polars as pl
from matplotlib.figure import Figure

from bss.evaluation.comparing.table import comparison_table
from bss.evaluation.comparing.variant import Variant
from bss.evaluation.page.text import markdown
from bss.evaluation.page.words import interval
from bss.exits import exits
from bss.files import write_text
from bss.parsing import read_mapping
from bss.types import BASELINE
from docs.marked import filled
from docs.runs import STUDY as FOLDER
from docs.runs import kept

PAGE = Path(__file__).with_suffix(".md")
IMAGES = PAGE.parent / "images"
COMMAND = "python -m docs.damage"
STUDY = PAGE.parents[1] / "comparisons/damage.yaml"
KIND, SHARE = "preprocess.damage_kind", "preprocess.damage"
CONFIDENCE = 0.95
Rows = list[Mapping[str, Any]]


def found(data: str, runs: pl.DataFrame) -> dict[str, dict[float, Rows]]:
    """Kind of damage -> its share of the training pairs -> a row an order, see `comparison_table`."""
    each = read_mapping(STUDY)["each"]
    kinds: dict[str, dict[float, Rows]] = defaultdict(dict)
    for kind, share in product(each[KIND], each[SHARE]):
        folder = Variant(f"damage-{data}", {KIND: kind, SHARE: share}).name
        if len(of_one := runs.filter(pl.col(FOLDER) == folder)):
            orders = [Variant(name) for name in of_one["scheduler"].unique(maintain_order=True)]
            kinds[kind][share] = [*comparison_table(of_one, orders, BASELINE, CONFIDENCE).iter_rows(named=True)]
    return kinds


def table(data: str, kinds: Mapping[str, Mapping[float, Rows]]) -> str:
    """A row a kind and a share: the accuracy of random order, and what each other order gains on test, in points."""
    orders = [row["label"] for row in _first(kinds) if row["difference"] is not None]
    lines = []
    for kind, shares in kinds.items():
        for share, rows in shares.items():
            by_label = {row["label"]: row for row in rows}
            gains = [interval(*(by_label[order][key] for key in ("difference", "low", "high"))) for order in orders]
            [base] = (row for row in rows if row["difference"] is None)
            lines.append([data, kind, f"{100 * share:.0f} %", f"{100 * base['accuracy']:.1f}", *gains])
    return markdown(["data", "damage", "pairs", "random, test %", *orders], lines, 2)


def draw(data: str, kinds: Mapping[str, Mapping[float, Rows]]) -> None:
    """The gain of each order by the share of damaged pairs, a panel a kind, with its interval."""
    figure = Figure(figsize=(3.4 * len(kinds), 3.0), layout="constrained", dpi=160)
    panels = figure.subplots(1, len(kinds), sharey=True, squeeze=False)[0]
    for axes, (kind, shares) in zip(panels, kinds.items(), strict=True):
        axes.axhline(0, color="black", linewidth=0.8)
        for order in [row["label"] for row in _first(kinds) if row["difference"] is not None]:
            rows = [next(row for row in some if row["label"] == order) for some in shares.values()]
            low, mean, high = ([100 * row[key] for row in rows] for key in ("low", "difference", "high"))
            percents = [100 * share for share in shares]
            [line] = axes.plot(percents, mean, marker="o", markersize=3.5, label=order)
            axes.fill_between(percents, low, high, color=line.get_color(), alpha=0.12, linewidth=0)
        axes.set_title(kind, fontsize=10)
        axes.set_xlabel("damaged training pairs, %")
        axes.set_xticks([100 * share for share in shares])
    panels[0].set_ylabel("test accuracy to random, points")
    panels[-1].legend(frameon=False, fontsize=8)
    figure.suptitle(data, fontsize=11)
    figure.savefig(IMAGES / f"damage-{data}.png")


def _first(kinds: Mapping[str, Mapping[float, Rows]]) -> Rows:
    return next(iter(next(iter(kinds.values())).values()))


def main() -> None:
    """The page with its figures and tables made anew."""
    parts = []
    for data, runs in kept("damage"):
        kinds = found(data, runs)
        draw(data, kinds)
        parts += [f"![gain against damage on {data}](images/damage-{data}.png)", table(data, kinds)]
    write_text(filled(PAGE.read_text(encoding="utf-8"), COMMAND, *parts), PAGE)


if __name__ == "__main__":
    with exits():
        main()
