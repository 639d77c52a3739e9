"""Which training pairs were drawn how often."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from bss.evaluation.grid.inputs import ReportInputs
from bss.evaluation.grid.looks import Look, legend
from bss.evaluation.page.canvas import WIDE, Chart, canvas, finish, label_axes
from bss.evaluation.page.section import Charts, Section, Table
from bss.evaluation.page.words import percent
from bss.wording import counted

PLACE = 70
HEADER = ("run", "pair", "class", "draws", "score")
NUM_GROUPS = 10
"""Groups of training pairs by balance score, of the same size."""
MAX_BINS = 30
NUM_LISTED = 3
"""Pairs at each end that are named."""


def section(inputs: ReportInputs) -> Section:
    """Draws by balance score, how often a pair was drawn in each run, and the pairs at both ends."""
    draws, scores, looks = inputs.draws, inputs.scores, inputs.looks
    how_often = "Share of the training pairs by their number of draws in the whole training, all seeds together."
    note = (
        "Mean over seeds; of each run the most drawn pairs, then the least drawn. A run that draws all pairs alike "
        "is left out."
    )
    pairs = drawn_pairs(draws, scores, inputs.manifest, looks)
    table = Table("Pairs drawn most and least", HEADER, pairs, note, folded=True, in_words=True)
    return Section(
        "Draws",
        [
            legend(looks),
            Charts([draw_chart(draws, scores, looks)], look="wide"),
            Charts(draw_histograms(draws, looks), "How often a pair was drawn", how_often),
            *([table] if pairs else []),
        ],
    )


def draw_chart(draws: pl.DataFrame, scores: pl.DataFrame, looks: Sequence[Look]) -> Chart:
    """Mean number of draws of a training pair by its balance score, in groups of the same size."""
    place = pl.col("balance_score").rank("ordinal").cast(pl.Int64).over("seed")
    group = (place - 1) * NUM_GROUPS // pl.len().over("seed") + 1
    counts = draws.join(scores.select("seed", "index", group=group), on=["seed", "index"], how="inner")
    with canvas(WIDE) as (figure, axes):
        for look in looks:
            curve = look.rows(counts).group_by("group").agg(pl.col("num_draws").mean()).sort("group")
            axes.plot(curve["group"], curve["num_draws"], marker="o", markersize=4, **look.line)
        axes.set_ylim(0, 1.05 * axes.get_ylim()[1])
        label_axes(axes, "tenth of the pairs by balance score (1: least balanced)", "draws of a pair")
        axes.set_xticks(range(1, NUM_GROUPS + 1))
        caption = "Mean number of draws in the whole training, over pairs and seeds, by score before training."
        return finish(figure, "Draws by balance score", caption)


def draw_histograms(draws: pl.DataFrame, looks: Sequence[Look]) -> list[Chart]:
    """Share of the training pairs by number of draws, all seeds together; a chart a run, with the same x axis."""
    top = int(draws["num_draws"].to_numpy().max(initial=0))
    bins = np.arange(0, top + 2, max(1, -(-(top + 1) // MAX_BINS))) - 0.5
    bins = bins if bins[-1] > top else np.append(bins, 2 * bins[-1] - bins[-2])
    runs = [(look, look.rows(draws)["num_draws"]) for look in looks]
    return [_histogram(look, counts, bins) for look, counts in runs if len(counts)]


def _histogram(look: Look, counts: pl.Series, bins: np.ndarray) -> Chart:
    values = counts.to_numpy()
    shares = 100 * np.histogram(values, bins=bins)[0] / values.size
    with canvas() as (figure, axes):
        axes.stairs(shares, bins, color=look.colour, fill=True, alpha=0.55)
        label_axes(axes, "draws of a pair", "share of the pairs, %")
        alike = values.min() == values.max()
        caption = f"{values.min()} to {values.max()} times, {values.mean():.1f} on average."
        caption = f"Each pair {counted(int(values[0]), 'time')}." if alike else caption
        caption += f" {percent(np.mean(values == 0))} % of the pairs never." if not values.min() else ""
        return finish(figure, f"{look.label}: draws", caption)


def drawn_pairs(
    draws: pl.DataFrame, scores: pl.DataFrame, manifest: pl.DataFrame, looks: Sequence[Look]
) -> list[tuple[str, ...]]:
    """The pairs that each run drew most and least, on average over its seeds; none of a run that drew all alike.

    Returns:
        Rows as HEADER names their cells, the most drawn first.
    """
    score = scores.group_by("index").agg(pl.col("balance_score").mean())
    known = manifest.select("index", "class").join(score, on="index", how="inner")
    return [pair for look in looks for pair in _ends(look, look.rows(draws), known)]


def _ends(look: Look, draws: pl.DataFrame, known: pl.DataFrame) -> list[tuple[str, ...]]:
    pairs = draws.group_by("index", "id").agg(pl.col("num_draws").mean()).join(known, on="index", how="inner")
    if pairs["num_draws"].n_unique() < 2:
        return []
    ranked = pairs.sort("num_draws", "index", descending=[True, False])
    num = min(NUM_LISTED, ranked.height // 2)
    return [
        (look.label, pair["id"], pair["class"], f"{pair['num_draws']:.1f}", f"{pair['balance_score']:+.3f}")
        for pair in pl.concat([ranked.head(num), ranked.tail(num)]).iter_rows(named=True)
    ]
