"""A comparison drawn: the difference of every row to the baseline, mean ranks, and curves over a varied number."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from bss.evaluation.comparing.variant import Variant
from bss.evaluation.page.canvas import INK, SERIES, WIDE, WIDTH, Chart, canvas, finish, name_rows, row_height
from bss.evaluation.page.words import t_interval
from bss.evaluation.study.comparison import Comparison, Row
from bss.evaluation.study.ranks import Ranks, row_accuracies

MIN_VALUES = 3
"""A varied number is drawn as a curve from so many values on."""
MIN_BLOCKS = 5
"""Seeds, from which on ranks are drawn."""


def forests(given: Comparison) -> list[Chart]:
    """Every row's difference to the baseline, on test and on validation; none where there is nothing to compare."""
    rows = [row for row in given.table.iter_rows(named=True) if row["difference"] is not None]
    return [_forest(given, rows)] if rows else []


def _forest(given: Comparison, rows: Sequence[Row]) -> Chart:
    names = [given.label(row) for row in rows]
    with canvas(WIDE, 0.9 + row_height(names) * len(names)) as (figure, axes):
        axes.axvline(0, color=INK, linewidth=0.8)
        for place, row in enumerate(rows):
            for shift, prefix, colour in ((0, "", SERIES[1]), (0.2, "validation_", SERIES[2])):
                low, mean, high = (100 * row[f"{prefix}{name}"] for name in ("low", "difference", "high"))
                axes.plot([low, high], [place + shift] * 2, color=colour, linewidth=2.4, alpha=0.55)
                axes.plot(
                    mean, place + shift, "o", color=colour, markersize=5, label=_split(prefix) if not place else None
                )
        name_rows(axes, names)
        axes.set_xlabel(f"accuracy against {given.baseline}, points")
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncol=2, frameon=False, borderaxespad=0)
        caption = "Dot: mean of the paired differences."
        if given.num_seeds > 1:
            caption += (
                f" Bar: its {t_interval(given.confidence)}, not corrected for the number of rows. A bar that crosses "
                "the line at 0 does not say which side is better."
            )
        return finish(figure, f"All rows against {given.baseline}", caption)


def rank_charts(given: Comparison) -> list[Chart]:
    """The mean rank of every row over the seeds, and how far two must lie apart; none for a handful of rows."""
    if not given.has_methods or given.num_seeds < MIN_BLOCKS or given.num_folds:
        return []
    return [Ranks({given.name: row_accuracies(given.named_runs)}, given.confidence).chart()]


def curves(given: Comparison) -> list[Chart]:
    """A chart for each number that takes MIN_VALUES values or more while all else stays."""
    return [_curve(given, sweep) for sweep in _swept(given)]


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
            for title, group in groupby(_varied(given.variants, key), key=lambda pair: pair[0]):
                members = sorted((variant.settings[key], variant.name) for _, variant in group)
                if len(members) >= MIN_VALUES:
                    values = [value for value, _ in members]
                    sweeps.append(_Sweep(method, title, key, values, [rows[method, name] for _, name in members]))
    return sweeps


def _varied(variants: Sequence[Variant], field: str) -> list[tuple[str, Variant]]:
    """The variants whose `field` is a number, each with the label of all else in it, the same ones in a row."""
    varied = []
    for variant in variants:
        value = variant.settings.get(field)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            others = {key: other for key, other in variant.settings.items() if key != field}
            varied.append((Variant(variant.base, others).label, variant))
    return sorted(varied, key=lambda pair: pair[0])


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
        caption = "Mean of the paired differences"
        caption += f", in the band of its {t_interval(given.confidence)}." if given.num_seeds > 1 else " of one seed."
        return finish(figure, f"{sweep.title}: {sweep.field}", caption)
