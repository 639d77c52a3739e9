"""The leaderboard: `python -m docs.leaderboard` writes the tables of docs/leaderboard.md.

They are made of what `python -m docs.runs leaderboard-DATA` keeps of each data set.
"""

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from bss.evaluation.comparing.statistics import holm, paired_difference, sign_flip_p
from bss.evaluation.page.text import markdown
from bss.evaluation.page.words import ABSENT, interval, percent
from bss.evaluation.study.ranks import Accuracies, Ranks, common_rows, row_accuracies
from bss.exits import exits
from bss.files import write_text
from bss.training.catalogue import FAMILIES, entry
from docs.marked import filled
from docs.runs import kept

PAGE = Path(__file__).parent / "leaderboard.md"
COMMAND = "python -m docs.leaderboard"
FIRST, BASE, OTHER = "joint", "random", "learned"
CONFIDENCE = 0.95
BENCHMARKS = PAGE.with_name("benchmarks.md")
Costs = Mapping[str, tuple[str, str, str]]
"""Method -> samples, time of an epoch and memory over those of `FIRST`."""


def written(text: str, found: Accuracies, costs: Costs) -> str:
    """The page with its tables made anew."""
    distance = f"Critical distance (95 %) of two mean ranks: {ranks(found).distance:.1f}."
    return filled(text, COMMAND, methods_table(found, costs), distance, families_table(found), orders_table(found))


def methods_table(found: Accuracies, costs: Costs) -> str:
    """A row a method in random order, the best mean rank first; those that some data cannot be used with come last.

    Args:
        found: of each data set.
        costs: of each method.
    """
    order = ranks(found)
    places = dict(zip(order.rows, order.means, strict=True))
    ranked = [order.rows[place] for place in order.order]
    rest = sorted({row.partition(" · ")[0] for runs in found.values() for row in runs} - {*ranked})
    pairs = [_over_all(found, method) for method in ranked if method != FIRST]
    corrected = dict(
        zip([name for name in ranked if name != FIRST], holm([sign_flip_p(*pair) for pair in pairs]), strict=True)
    )
    rows = []
    for method in (*ranked, *rest):
        row = [method, entry(method).record.families[0], f"{places[method]:.1f}" if method in places else ABSENT]
        row += [*costs[method], *_cells(found, _row(method, BASE), _row(FIRST, BASE))]
        row += [_difference(*_over_all(found, method))] if method in places else [ABSENT]
        rows.append([*row, f"{corrected[method]:.3f}" if method in corrected else ABSENT])
    return markdown(
        ["method", "family", "mean rank", "samples", "time", "memory", *found, "over all", "Holm p"], rows, 2
    )


def families_table(found: Accuracies) -> str:
    """A row a family and a column a data set: the mean of its ranked methods in random order against joint."""
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
    return markdown(["family (methods)", *found], rows)


def orders_table(found: Accuracies) -> str:
    """A row a method, in the order of the alphabet: what the learned scheduler does to it on each data set."""
    methods = dict.fromkeys(sorted(row.partition(" · ")[0] for runs in found.values() for row in runs))
    rows = [[method, *_cells(found, _row(method, OTHER), _row(method, BASE))] for method in methods]
    return markdown([f"method: {OTHER} to {BASE}", *found], rows)


def ranks(found: Accuracies) -> Ranks:
    """The methods that all data can be used with, ranked in random order."""
    of_base = f" · {BASE}"
    return Ranks(
        {
            name: {row.removesuffix(of_base): values for row, values in runs.items() if row.endswith(of_base)}
            for name, runs in common_rows(found)[0].items()
        },
        CONFIDENCE,
    )


def costs_of(found: Mapping[str, pl.DataFrame], benchmarks: str) -> Costs:
    """The samples that each method trains on, the time of an epoch and its memory, all over those of `FIRST`.

    Args:
        found: data set -> its runs.
        benchmarks: the text of docs/benchmarks.md, where time and memory were measured.
    """
    samples = samples_to_first(found)
    return {
        method: (
            f"{samples[method]:.2f}",
            _measured("an epoch of", method, benchmarks),
            _measured("memory of", method, benchmarks),
        )
        for method in samples
    }


def samples_to_first(found: Mapping[str, pl.DataFrame]) -> dict[str, float]:
    """Method -> the samples it trains on in random order over those of `FIRST`, the mean over the data sets."""
    shares = []
    for runs in found.values():
        seen = dict(runs.group_by("row").agg(pl.col("num_samples").mean()).iter_rows())
        first, of_base = seen[_row(FIRST, BASE)], _row("", BASE)
        shares.append({row.removesuffix(of_base): seen[row] / first for row in seen if row.endswith(of_base)})
    methods = dict.fromkeys(method for share in shares for method in share)
    return {method: float(np.mean([share[method] for share in shares if method in share])) for method in methods}


def _measured(what: str, method: str, benchmarks: str) -> str:
    line = re.search(rf"^\| avdigits: {what} {method} / {FIRST} \| ([0-9.]+)", benchmarks, re.MULTILINE)
    return line[1] if line else "1" if method == FIRST else ABSENT


def _row(method: str, scheduler: str) -> str:
    return f"{method} · {scheduler}"


def _cells(found: Accuracies, row: str, reference: str) -> list[str]:
    """The difference on each data set, where there is one."""
    return [_difference(runs[row], runs[reference]) if row in runs else ABSENT for runs in found.values()]


def _over_all(found: Accuracies, method: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The accuracies of a method and of `FIRST`, of all seeds of all data sets."""
    of_method, of_first = ([runs[_row(name, BASE)] for runs in found.values()] for name in (method, FIRST))
    return np.concatenate(of_method), np.concatenate(of_first)


def _difference(values: NDArray[np.float64], reference: NDArray[np.float64]) -> str:
    found = paired_difference(values, reference, CONFIDENCE)
    same = np.array_equal(values, reference)
    return percent(float(np.mean(values))) if same else interval(found.mean, found.low, found.high)


if __name__ == "__main__":
    with exits():
        studies = dict(kept("leaderboard"))
        runs_of = {name: row_accuracies(runs) for name, runs in studies.items()}
        measured = costs_of(studies, BENCHMARKS.read_text(encoding="utf-8"))
        write_text(written(PAGE.read_text(encoding="utf-8"), runs_of, measured), PAGE)
