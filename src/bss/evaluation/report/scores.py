"""How the balance score is distributed: over all pairs, by class, and over damaged against intact pairs."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from bss.evaluation.findings.preferences import detection_areas
from bss.evaluation.grid.examples import damage
from bss.evaluation.grid.inputs import ReportInputs
from bss.evaluation.page.canvas import INK, MAX_CLASSES, MUTED, SERIES, WIDE, Chart, canvas, finish
from bss.evaluation.page.section import Charts, Prose, Section
from bss.evaluation.page.words import listed, shortened

PLACE = 50
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
NUM_BINS = 24


def section(inputs: ReportInputs) -> Section:
    """Histograms of the score, and its quantiles by class."""
    scores, manifest = inputs.scores, inputs.manifest
    note = (
        "A pair is balanced where its modalities agree and the model learns it easily. Larger is more balanced. "
        f"Scores of the first seed, {inputs.first_seed}."
    )
    charts = [score_histogram(scores), class_chart(scores, manifest), damage_chart(scores, manifest)]
    drawn = [chart for chart in charts if chart]
    return Section("Scores", [Prose([note]), Charts(drawn, look="wide")], heading="Balance scores")


def score_histogram(scores: pl.DataFrame) -> Chart:
    """Histogram of the score: filled for the first seed, a line for each other one."""
    low, median, high = np.quantile(_first_seed(scores)["balance_score"].to_numpy(), [0.25, 0.5, 0.75])
    bins = np.histogram_bin_edges(scores["balance_score"].to_numpy(), bins=NUM_BINS)
    with canvas(WIDE) as (figure, axes):
        for place, (_, group) in enumerate(scores.sort("seed").group_by("seed", maintain_order=True)):
            shares = 100 * np.histogram(group["balance_score"].to_numpy(), bins=bins)[0] / group.height
            axes.stairs(
                shares, bins, color=MUTED if place else SERIES[1], fill=not place, alpha=0.8 if place else 0.45
            )
        axes.set_xlabel("balance score")
        axes.set_ylabel("share of the pairs, %")
        caption = f"Filled: seed {min(scores['seed'])}, median {median:.2f}, middle half {low:.2f} to {high:.2f}."
        caption += " Lines: the other seeds." if scores["seed"].n_unique() > 1 else ""
        return finish(figure, "Balance score of all pairs", caption)


def class_chart(scores: pl.DataFrame, manifest: pl.DataFrame) -> Chart:
    """Quantiles of the score within each class, classes sorted by median; first seed."""
    pairs = _first_seed(scores).join(manifest.select("index", "label", "class"), on="index", how="inner")
    quantiles = [pl.col("balance_score").quantile(q, "linear").alias(f"{q}") for q in QUANTILES]
    classes = (
        pairs.group_by("label", "class").agg(quantiles).sort("0.5", "label", descending=[True, False]).drop("label")
    )
    half = MAX_CLASSES // 2
    shown = classes if classes.height <= MAX_CLASSES else pl.concat([classes.head(half), classes.tail(half)])
    caption = "Dot: median. Thick bar: middle half. Thin line: middle 90 %."
    if classes.height > shown.height:
        caption += f" The {half} classes at each end; {classes.height - shown.height} between them are left out."
    return _class_chart(shown, caption)


def _class_chart(classes: pl.DataFrame, caption: str) -> Chart:
    with canvas(WIDE, 0.7 + 0.2 * classes.height) as (figure, axes):
        for place, (low, first, median, third, high) in enumerate(classes.drop("class").iter_rows()):
            axes.plot([low, high], [place, place], color=SERIES[1], linewidth=1)
            axes.plot([first, third], [place, place], color=SERIES[1], linewidth=6, alpha=0.4)
            axes.plot(median, place, "o", color=SERIES[1], markersize=5.5)
        axes.set_yticks(range(classes.height), list(map(shortened, classes["class"])), color=INK)
        axes.set_ylim(classes.height - 0.4, -0.6)
        axes.set_xlabel("balance score")
        axes.grid(axis="y", visible=False)
        return finish(figure, "Balance score by class", caption)


def damage_chart(scores: pl.DataFrame, manifest: pl.DataFrame) -> Chart | None:
    """Score of damaged against intact pairs, first seed; None where the manifest knows of no damaged pair."""
    pairs = scores.join(manifest.select("index", damage(manifest)), on="index", how="inner")
    if (pairs["damage"] == "").all():
        return None
    first = _first_seed(pairs).sort("damage")
    bins = np.histogram_bin_edges(first["balance_score"].to_numpy(), bins=NUM_BINS)
    with canvas(WIDE) as (figure, axes):
        for place, ((name,), group) in enumerate(first.group_by("damage", maintain_order=True)):
            shares = 100 * np.histogram(group["balance_score"].to_numpy(), bins=bins)[0] / group.height
            if name:
                axes.stairs(shares, bins, label=str(name), color=SERIES[1 + place % 6], linewidth=1.7)
            else:
                axes.stairs(shares, bins, label="intact", color=MUTED, fill=True, alpha=0.35)
        axes.set_xlabel("balance score")
        axes.set_ylabel("share of the group, %")
        axes.legend(frameon=False, loc="lower left", bbox_to_anchor=(0, 1), ncol=3, borderaxespad=0)
        return finish(figure, "Damaged against intact pairs", _detection(pairs, detection_areas(scores, manifest)))


def _detection(pairs: pl.DataFrame, by_seed: Sequence[float]) -> str:
    areas = [f"{area:.2f}" for area in by_seed]
    first = _first_seed(pairs)
    return (
        f"{(first['damage'] != '').sum():,} of {first.height:,} pairs were damaged on purpose; the score was not "
        f"told. A damaged pair scores below an intact one with probability {listed(areas)} "
        f"(ROC AUC, {'each seed' if len(areas) > 1 else 'one seed'}; 0.5 is chance, 1 is perfect)."
    )


def _first_seed(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.filter(pl.col("seed") == pl.col("seed").min())
