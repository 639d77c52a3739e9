"""A difference drawn: scores before and after, overlap by epoch, metric differences, flips by class."""

from collections.abc import Sequence

import numpy as np
import polars as pl
from matplotlib.axes import Axes

from bss.evaluation.comparing.statistics import PairedDifference
from bss.evaluation.diff.difference import Difference
from bss.evaluation.diff.models import BROKEN, CONFIDENCE, FIXED
from bss.evaluation.diff.scores import ScoreDifference, movement_by_class
from bss.evaluation.diff.sequences import SequenceDifference
from bss.evaluation.diff.summary import number
from bss.evaluation.page.canvas import HEIGHT, INK, MAX_CLASSES, MUTED, SERIES, WIDE, WIDTH, Chart, canvas, finish
from bss.evaluation.page.words import level, shortened

NUM_BINS = 24
MAX_SEEDS = 6
"""Seeds that are drawn; of more, the first."""
MAX_CELLS = 40
LABEL = 24


def score_charts(difference: Difference) -> list[Chart]:
    """The score before and after for each seed, and how far each class moved."""
    if not difference.scores:
        return []
    drawn = [one for one in difference.scores if one.num_common][:MAX_SEEDS]
    return [*map(_density, drawn), _movement(pl.concat([one.moved for one in difference.scores]))]


def sequence_charts(difference: Difference) -> list[Chart]:
    """The overlap of each epoch, where sequences are laid out."""
    drawn = [one for one in difference.sequences if len(one.epochs)]
    return [_overlap(drawn)] if drawn else []


def model_charts(difference: Difference) -> list[Chart]:
    """The differences of the accuracy with their intervals, and how many pairs of each class flipped."""
    judged = [(model.name, one) for model in difference.models for one in model.judged]
    outputs = {one.output for _, one in judged} or {one.output for one in difference.over_seeds}
    means = [one for one in difference.over_seeds if one.output in outputs]
    rows = [(f"{one.method}-{one.scheduler} {one.output}", one.accuracy) for one in means]
    rows = [*rows, *((f"{name} {one.output}", one.accuracy) for name, one in judged)][:MAX_CELLS]
    flipped = [one.flipped for _, one in judged if not one.flipped.is_empty()]
    return [*([_forest(rows, len(means))] if rows else []), *([_flips(flipped)] if flipped else [])]


def _density(one: ScoreDifference) -> Chart:
    """Squares whose area is the number of pairs."""
    old, new = (one.moved[name].to_numpy() for name in ("before", "after"))
    edges = np.histogram_bin_edges(np.concatenate([old, new]), bins=NUM_BINS)
    counts = np.histogram2d(old, new, bins=[edges, edges])[0]
    across, up = np.nonzero(counts)
    middles = (edges[:-1] + edges[1:]) / 2
    sizes = 4 + 60 * counts[across, up] / counts.max()
    with canvas(WIDTH, WIDTH) as (figure, axes):
        axes.plot(edges[[0, -1]], edges[[0, -1]], color=MUTED, linewidth=0.8)
        axes.scatter(middles[across], middles[up], s=sizes, marker="s", color=SERIES[1], linewidths=0)
        axes.set_xlabel("balance score before")
        axes.set_ylabel("after")
        caption = (
            f"{one.num_common:,} pairs, rank correlation {number(one.correlation)}. The larger a square, the more "
            "pairs; on the line nothing changed, above it pairs count as more balanced than before."
        )
        return finish(figure, f"Score before and after, seed {one.seed}", caption)


def _movement(moved: pl.DataFrame) -> Chart:
    classes = movement_by_class(moved)
    shown = classes.head(MAX_CLASSES)
    places = np.arange(len(shown))
    with canvas(WIDE, 0.8 + 0.22 * len(shown)) as (figure, axes):
        axes.axvline(0, color=INK, linewidth=0.8)
        axes.barh(places, shown["distance"].to_numpy(), height=0.6, color=SERIES[1], alpha=0.35, label="distance")
        axes.plot(shown["movement"].to_numpy(), places, "o", color=SERIES[2], markersize=5, label="with its sign")
        _name_rows(axes, shown["class"].to_list())
        axes.set_xlabel("mean change of the normalised rank")
        axes.legend(frameon=False, loc="lower left", bbox_to_anchor=(0, 1), ncol=2, borderaxespad=0)
        return finish(figure, "Movement by class", _left_out(classes, "Right of 0 is towards balance, all seeds."))


def _overlap(sequences: Sequence[SequenceDifference]) -> Chart:
    """A colour a scheduler, a line a seed."""
    schedulers = list(dict.fromkeys(one.scheduler for one in sequences))
    with canvas(WIDE, HEIGHT) as (figure, axes):
        for one in sequences:
            first = next(other for other in sequences if other.scheduler == one.scheduler) is one
            colour = SERIES[1 + schedulers.index(one.scheduler) % (len(SERIES) - 1)]
            epochs, overlaps = one.epochs["epoch"].to_numpy() + 1, one.epochs["jaccard"].to_numpy()
            axes.plot(epochs, overlaps, color=colour, linewidth=1.2, label=one.scheduler if first else None)
        axes.set_ylim(0, 1.03)
        axes.set_xlabel("epoch")
        axes.set_ylabel("overlap (Jaccard)")
        axes.legend(frameon=False, loc="lower left", bbox_to_anchor=(0, 1), ncol=2, borderaxespad=0)
        caption = "How far the samples of an epoch are the same ones, a line a seed; 1: all of them."
        return finish(figure, "Overlap by epoch", caption)


def _forest(rows: Sequence[tuple[str, PairedDifference]], num_means: int) -> Chart:
    with canvas(WIDE, 0.7 + 0.22 * len(rows)) as (figure, axes):
        axes.axvline(0, color=INK, linewidth=0.8)
        for place, (_, accuracy) in enumerate(rows):
            colour = SERIES[1] if place < num_means else SERIES[2]
            axes.plot([100 * accuracy.low, 100 * accuracy.high], [place] * 2, color=colour, linewidth=2.4, alpha=0.55)
            axes.plot(100 * accuracy.mean, place, "o", color=colour, markersize=5)
        _name_rows(axes, [name for name, _ in rows], LABEL)
        axes.set_xlabel("accuracy after - before, points")
        caption = (
            f"Above: means over the seeds with their {level(CONFIDENCE)} interval (Student's t). Below: each cell, "
            "with that of the bootstrap over test pairs. A bar that crosses the line at 0 does not say which side is "
            "better."
        )
        return finish(figure, "Accuracy", caption)


def _flips(flipped: Sequence[pl.DataFrame]) -> Chart:
    """Fixed pairs to the right, broken ones to the left, of all cells."""
    is_fixed, is_broken = pl.col("flip") == FIXED, pl.col("flip") == BROKEN
    counts = pl.concat(flipped).group_by("class").agg(is_fixed.sum().alias(FIXED), is_broken.sum().alias(BROKEN))
    counts = counts.sort(pl.col(FIXED) + pl.col(BROKEN), "class", descending=[True, False])
    shown = counts.head(MAX_CLASSES)
    places = np.arange(len(shown))
    with canvas(WIDE, 0.8 + 0.22 * len(shown)) as (figure, axes):
        axes.barh(places, shown[FIXED].to_numpy(), height=0.6, color=SERIES[3], label="wrong to right")
        axes.barh(
            places, -shown[BROKEN].cast(pl.Int64).to_numpy(), height=0.6, color=SERIES[2], label="right to wrong"
        )
        axes.axvline(0, color=INK, linewidth=0.8)
        axes.xaxis.set_major_formatter(lambda value, _: f"{abs(value):g}")
        _name_rows(axes, shown["class"].to_list())
        axes.set_xlabel("predictions")
        axes.legend(frameon=False, loc="lower left", bbox_to_anchor=(0, 1), ncol=2, borderaxespad=0)
        return finish(figure, "Flips by class", _left_out(counts, "Predictions on the test split, all cells."))


def _name_rows(axes: Axes, names: Sequence[str], length: int = 12) -> None:
    axes.set_yticks(range(len(names)), [shortened(name, length) for name in names], color=INK)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(axis="y", visible=False)


def _left_out(classes: pl.DataFrame, caption: str) -> str:
    more = len(classes) - MAX_CLASSES
    return f"{caption} The {MAX_CLASSES} classes with most; {more} are left out." if more > 0 else caption
