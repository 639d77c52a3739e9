"""The test pairs that an order puts right, and those that it spoils, against the baseline's order."""

from collections.abc import Sequence

import polars as pl
from matplotlib.ticker import MaxNLocator

from bss.evaluation.grid.inputs import ReportInputs
from bss.evaluation.grid.looks import Look
from bss.evaluation.page.canvas import INK, MAX_CLASSES, SERIES, Chart, canvas, finish
from bss.evaluation.page.section import Charts, Prose, Section, Table
from bss.evaluation.page.words import shortened
from bss.types import FUSED
from bss.wording import counted

PLACE = 100
HEADING = "Fixed and broken"
NUM_LISTED = 5
"""Pairs that are named, of those fixed and of those broken by each run."""
CHANGES = ("fixed", "broken", "both_right", "both_wrong")
COUNTED = ("run", "fixed", "broken", "fixed less broken", "both right", "both wrong")
NAMED = ("run", "change", "pair", "class", "seeds", "taken for")


def section(inputs: ReportInputs) -> Section:
    """Fixed and broken predictions of each run: their numbers, by class, and the pairs that change in most seeds."""
    changes, looks = changed_predictions(inputs.predictions, inputs.baseline), inputs.looks
    counts = change_counts(changes, looks)
    if not counts:
        none = f"No run has one in {inputs.baseline} order to compare it with."
        return Section("Changes", [Prose([none])], heading=HEADING)
    note = (
        f"Every fused prediction on the test split beside that of {inputs.baseline} order with the same method and "
        "seed: fixed is right here and wrong there, broken the other way round. Counts are summed over seeds."
    )
    by_class = Charts(change_charts(changes, looks, inputs.classes), "By class")
    pairs = _pairs(changed_pairs(changes, looks, inputs.classes))
    return Section("Changes", [Table(HEADING, COUNTED, counts, note), by_class, pairs], heading=HEADING)


def _pairs(rows: list[tuple[str, ...]]) -> Table | Prose:
    if not rows:
        return Prose(["No run fixes or breaks a pair in more than half of the seeds."])
    note = (
        "Test pairs that a run fixes, or breaks, in more than half of the seeds. “Taken for” is what the wrong side "
        "says. They are not shown: only evaluation opens the test split."
    )
    return Table("Pairs changed in most seeds", NAMED, rows, note, folded=True, in_words=True)


def changed_predictions(predictions: pl.DataFrame, baseline: str) -> pl.DataFrame:
    """Every fused prediction beside that of the baseline's run of the same method and seed.

    Args:
        predictions: method, scheduler, seed, id, label, output, prediction.
        baseline: the scheduler that is compared with.

    Returns:
        method, scheduler, seed, id, label, prediction, of_baseline, and the flags fixed (right here alone), broken
        (right there alone), both_right, both_wrong: exactly one of them is true.
    """
    keys = ["method", "seed", "id", "label"]
    fused = predictions.filter(pl.col("output") == FUSED).select(*keys, "scheduler", "prediction")
    reference = fused.filter(pl.col("scheduler") == baseline).select(*keys, of_baseline="prediction")
    runs = fused.filter(pl.col("scheduler") != baseline)
    here, there = (pl.col(name) == pl.col("label") for name in ("prediction", "of_baseline"))
    return runs.join(reference, on=keys, how="inner", validate="m:1", maintain_order="left").with_columns(
        fixed=here & ~there, broken=~here & there, both_right=here & there, both_wrong=~here & ~there
    )


def change_counts(changes: pl.DataFrame, looks: Sequence[Look]) -> list[tuple[str, ...]]:
    """A row a run that has a baseline, its cells as COUNTED names them: numbers of predictions over all seeds."""
    rows = []
    for look in looks:
        run = look.rows(changes)
        fixed, broken, *same = (int(run[name].sum()) for name in CHANGES)
        cells = (f"{fixed:,}", f"{broken:,}", f"{fixed - broken:+,}", *(f"{number:,}" for number in same))
        rows += [] if run.is_empty() else [(look.label, *cells)]
    return rows


def change_charts(changes: pl.DataFrame, looks: Sequence[Look], classes: Sequence[str]) -> list[Chart]:
    """Predictions fixed and broken by true class, summed over seeds; a chart a run."""
    runs = [(look, look.rows(changes)) for look in looks]
    return [_change_chart(look, run, classes) for look, run in runs if not run.is_empty()]


def _change_chart(look: Look, run: pl.DataFrame, classes: Sequence[str]) -> Chart:
    by_class = run.group_by("label").agg(pl.col("fixed", "broken").sum())
    net = pl.col("fixed").cast(pl.Int64) - pl.col("broken").cast(pl.Int64)
    rows = by_class.sort(net, "label", descending=[True, False])
    half = MAX_CLASSES // 2
    shown = rows if rows.height <= MAX_CLASSES else pl.concat([rows.head(half), rows.tail(half)])
    num_hidden = rows.height - shown.height
    with canvas(height=0.8 + 0.22 * shown.height) as (figure, axes):
        for place, (_, fixed, broken) in enumerate(shown.iter_rows()):
            axes.plot([0, fixed], [place, place], color=SERIES[1], linewidth=6, solid_capstyle="butt")
            axes.plot([0, -broken], [place, place], color=SERIES[2], linewidth=6, solid_capstyle="butt")
        axes.axvline(0, color=INK, linewidth=0.8)
        axes.set_yticks(range(shown.height), [shortened(classes[label]) for label in shown["label"]], color=INK)
        axes.set_ylim(shown.height - 0.4, -0.6)
        widest = max(1, *shown["fixed"], *shown["broken"])
        axes.set_xlim(-1.1 * widest, 1.1 * widest)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.xaxis.set_major_formatter(lambda number, _: f"{abs(number):g}")
        axes.set_xlabel("broken (left), fixed (right)")
        axes.grid(axis="y", visible=False)
        seeds = counted(run["seed"].n_unique(), "seed")
        caption = f"Test predictions by true class, {seeds} together, the class that gained most first."
        caption += f" Left out between them: {counted(num_hidden, 'class')}." if num_hidden else ""
        return finish(figure, f"{look.label}: fixed and broken", caption)


def changed_pairs(changes: pl.DataFrame, looks: Sequence[Look], classes: Sequence[str]) -> list[tuple[str, ...]]:
    """The test pairs that each run fixes, then those that it breaks, in most seeds (more than half, net).

    Returns:
        Rows as NAMED names their cells: the change is "fixed" or "broken", seeds are as in `2 of 3`, and "taken for"
        lists the classes that the wrong side takes the pair for.
    """
    return [pair for look in looks for name in CHANGES[:2] for pair in _most(look, look.rows(changes), name, classes)]


def _most(look: Look, run: pl.DataFrame, change: str, classes: Sequence[str]) -> list[tuple[str, ...]]:
    other = "broken" if change == "fixed" else "fixed"
    wrong = pl.col("of_baseline" if change == "fixed" else "prediction")
    net = pl.col(change).sum().cast(pl.Int64) - pl.col(other).sum().cast(pl.Int64)
    pairs = run.group_by("id", "label", maintain_order=True).agg(
        net=net, times=pl.col(change).sum(), taken=wrong.filter(pl.col(change)).unique().sort()
    )
    num_seeds = run["seed"].n_unique()
    most = pairs.filter(2 * pl.col("net") > num_seeds).sort("net", "id", descending=[True, False]).head(NUM_LISTED)
    return [
        (
            look.label,
            change,
            str(pair["id"]),
            classes[pair["label"]],
            f"{pair['times']} of {num_seeds}",
            ", ".join(classes[label] for label in pair["taken"]),
        )
        for pair in most.iter_rows(named=True)
    ]
