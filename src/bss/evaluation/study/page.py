"""A comparison as a page, and its table for the terminal, for git and for programs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from textwrap import fill
from typing import Any

import polars as pl
import yaml

from bss.evaluation.comparing.table import BESIDE
from bss.evaluation.comparing.variant import Variant
from bss.evaluation.page.canvas import INK, SERIES, WIDTH, Chart, canvas, finish
from bss.evaluation.page.template import rendered
from bss.evaluation.page.text import markdown, plain
from bss.evaluation.page.words import ABSENT, interval, level, mean_sd, percent
from bss.evaluation.report.headline import RULES
from bss.evaluation.study.ranks import MAX_LABEL, Ranks, row_accuracies
from bss.files import write_text

MIN_VALUES = 3
"""A varied number is drawn as a curve from so many values on."""
MIN_BLOCKS = 5
"""Seeds, from which on ranks are drawn."""
Row = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What a study found."""

    name: str
    about: tuple[str, ...]
    dataset: str
    notes: tuple[str, ...]
    num_pairs: Mapping[str, int]
    variants: Sequence[Variant]
    runs: pl.DataFrame
    """As `fused_runs` gives them."""
    table: pl.DataFrame
    """As `comparison_table` gives it."""
    baseline: str
    confidence: float
    command: str
    parameters: Mapping[str, object]
    rule: str = "fused"
    """What made the multimodal predictions, see `Evaluate.rule`."""
    chosen_of: Mapping[str, str] = field(default_factory=dict)
    """Name of a method whose fields were chosen -> the method."""


def write_comparison(given: Comparison, folder: Path) -> None:
    """Write `table.txt`, `table.md`, `table.json`, `runs.csv` (a row a run) and `page.html`."""
    header, rows = _cells(given)
    write_text(format_comparison(given) + "\n", folder / "table.txt")
    write_text(markdown(header, rows) + "\n", folder / "table.md")
    write_text(given.table.write_json() + "\n", folder / "table.json")
    write_text(_runs(given).write_csv(), folder / "runs.csv")
    page = rendered(
        Path(__file__).with_name("page.html"),
        given=given,
        facts=_facts(given),
        forests=[*_forests(given), *_ranks(given)],
        curves=[_curve(given, sweep) for sweep in _swept(given)],
        confidence=level(given.confidence),
        header=header,
        rows=rows,
        parameters=yaml.safe_dump(dict(given.parameters), sort_keys=False, allow_unicode=True),
    )
    write_text(page, folder / "page.html")


def format_comparison(given: Comparison) -> str:
    """The main columns as plain text of at most 80 columns."""
    rows = given.table.iter_rows(named=True)
    if not _has_methods(given):
        header = ("row", "test %", f"to {given.baseline} [{level(given.confidence)}]", "Holm p", "steps")
        return plain(header, [(_label(given, row), *_main(row), f"{row['num_steps']:,}") for row in rows])
    of_methods = ("row", "test %", "to the first row", f"to {given.baseline}")
    return plain(of_methods, [(_label(given, row), *_against_first(row)) for row in rows])


def _cells(given: Comparison) -> tuple[list[str], list[list[str]]]:
    twins = [variant.twins for variant in given.variants if variant.twin]
    header = ["row", "test %", f"to {given.baseline} [{level(given.confidence)}]", "Holm p"]
    header += [f"to its {twins[0]}"] if twins else []
    header += ["to the first row"] if _has_methods(given) else []
    header += ["validation %", f"validation to {given.baseline}", "macro F1"]
    beside = [name for name in given.table.columns if name.startswith(BESIDE)] if _has_methods(given) else []
    header += [name.partition("_")[2].replace("_", " ") for name in beside] + ["steps", "samples"]
    rows = []
    for row in given.table.iter_rows(named=True):
        cells = [_label(given, row), *_main(row)]
        cells += [_interval(row, "twin_")] if twins else []
        cells += [_interval(row, "first_")] if _has_methods(given) else []
        cells += [percent(row["validation_accuracy"]), _interval(row, "validation_"), percent(row["macro_f1"])]
        cells += [percent(row[name]) for name in beside]
        rows.append([*cells, f"{row['num_steps']:,}", f"{row['num_samples']:,}"])
    return header, rows


def _main(row: Row) -> tuple[str, str, str]:
    p = ABSENT if row["p_holm"] is None else f"{row['p_holm']:.3f}"
    return mean_sd(row["accuracy"], row["accuracy_sd"]), _interval(row, ""), p


def _against_first(row: Row) -> tuple[str, str, str]:
    return mean_sd(row["accuracy"], row["accuracy_sd"]), _interval(row, "first_"), _interval(row, "")


def _has_methods(given: Comparison) -> bool:
    return given.table["method"].n_unique() > 1


def _interval(row: Row, prefix: str) -> str:
    return interval(*(row[f"{prefix}{name}"] for name in ("difference", "low", "high")))


def _label(given: Comparison, row: Row) -> str:
    label: str = row["label"]
    method = row["method"]
    return f"{given.chosen_of.get(method, method)} · {label}" if _has_methods(given) else label


def _facts(given: Comparison) -> list[tuple[str, str]]:
    return [
        ("data set", given.dataset),
        *((f"{split} pairs", f"{number:,}") for split, number in given.num_pairs.items()),
        ("rows", f"{len(given.table)}"),
        ("seeds", str(given.table["num_seeds"].max())),
        ("multimodal prediction", RULES[given.rule]),
    ]


def _forests(given: Comparison) -> list[Chart]:
    """Every row's difference to the baseline, on test and on validation; none where there is nothing to compare."""
    rows = [row for row in given.table.iter_rows(named=True) if row["difference"] is not None]
    return [_forest(given, rows)] if rows else []


def _forest(given: Comparison, rows: Sequence[Row]) -> Chart:
    with canvas(2.2 * WIDTH, 0.9 + 0.36 * len(rows)) as (figure, axes):
        axes.axvline(0, color=INK, linewidth=0.8)
        for place, row in enumerate(rows):
            for shift, prefix, colour in ((-0.14, "", SERIES[1]), (0.14, "validation_", SERIES[2])):
                low, mean, high = (100 * row[f"{prefix}{name}"] for name in ("low", "difference", "high"))
                axes.plot([low, high], [place + shift] * 2, color=colour, linewidth=2.4, alpha=0.55)
                axes.plot(
                    mean, place + shift, "o", color=colour, markersize=5, label=_split(prefix) if not place else None
                )
        axes.set_yticks(range(len(rows)), [fill(_label(given, row), MAX_LABEL) for row in rows], color=INK)
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_xlabel(f"accuracy against {given.baseline}, points")
        axes.grid(axis="y", visible=False)
        axes.legend(loc="best", frameon=False)
        caption = (
            f"Dot: mean of the paired differences. Bar: its {level(given.confidence)} interval, not corrected for "
            "the number of rows. A bar that crosses the line at 0 does not say which side is better."
        )
        return finish(figure, f"All rows against {given.baseline}", caption)


def _ranks(given: Comparison) -> list[Chart]:
    """The mean rank of every row over the seeds, and how far two must lie apart; none for a handful of rows."""
    if not _has_methods(given) or given.runs["seed"].n_unique() < MIN_BLOCKS:
        return []
    return [Ranks({given.name: row_accuracies(_runs(given))}, given.confidence).chart()]


def _runs(given: Comparison) -> pl.DataFrame:
    """Every run with the label of its row."""
    of_row = [(row["method"], row["scheduler"], _label(given, row)) for row in given.table.iter_rows(named=True)]
    labels = pl.DataFrame(of_row, schema=["method", "scheduler", "row"], orient="row")
    runs = given.runs.join(labels, on=["method", "scheduler"], how="left", maintain_order="left")
    return runs.select("row", pl.exclude("row"))


def _split(prefix: str) -> str:
    return "validation" if prefix else "test"


@dataclass(frozen=True)
class _Sweep:
    """The rows that differ in one number."""

    method: str
    title: str
    field: str
    values: list[float]
    rows: list[Row]


def _swept(given: Comparison) -> list[_Sweep]:
    sweeps = []
    rows = {(row["method"], row["scheduler"]): row for row in given.table.iter_rows(named=True)}
    for method in given.table["method"].unique(maintain_order=True):
        for key in dict.fromkeys(key for variant in given.variants for key in variant.settings):
            for title, group in groupby(_varied(given.variants, key), key=lambda found: found[0]):
                members = sorted((variant.settings[key], variant.name) for _, variant in group)
                if len(members) >= MIN_VALUES:
                    values = [value for value, _ in members]
                    sweeps.append(_Sweep(method, title, key, values, [rows[method, name] for _, name in members]))
    return sweeps


def _varied(variants: Sequence[Variant], field: str) -> list[tuple[str, Variant]]:
    """The variants whose `field` is a number, each with the label of all else in it, the same ones in a row."""
    found = []
    for variant in variants:
        value = variant.settings.get(field)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            others = {key: other for key, other in variant.settings.items() if key != field}
            found.append((Variant(variant.base, others).label, variant))
    return sorted(found, key=lambda pair: pair[0])


def _curve(given: Comparison, sweep: _Sweep) -> Chart:
    """The difference to the baseline by the value of one number."""
    with canvas(1.2 * WIDTH) as (figure, axes):
        axes.axhline(0, color=INK, linewidth=0.8)
        for prefix, colour in (("", SERIES[1]), ("validation_", SERIES[2])):
            low, mean, high = (
                [100 * row[f"{prefix}{name}"] for row in sweep.rows] for name in ("low", "difference", "high")
            )
            axes.fill_between(sweep.values, low, high, color=colour, alpha=0.15, linewidth=0)
            axes.plot(sweep.values, mean, marker="o", markersize=4, color=colour, label=_split(prefix))
        axes.set_xlabel(sweep.field)
        axes.set_ylabel(f"accuracy against {given.baseline}, points")
        axes.set_xticks(sweep.values, [f"{value:g}" for value in sweep.values])
        axes.legend(loc="best", frameon=False)
        caption = f"Mean of the paired differences, in the band of its {level(given.confidence)} interval."
        return finish(figure, f"{sweep.title}: {sweep.field}", caption)
