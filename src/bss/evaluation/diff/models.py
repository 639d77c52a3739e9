"""How the trained models of two snapshots differ on the test split: metrics, and predictions that flipped."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from bss.evaluation.comparing.statistics import NUM_RESAMPLES, PairedDifference, paired_difference
from bss.evaluation.diff.scores import TOLERANCE, keyed
from bss.paths import Cell
from bss.types import FUSED, OWN

FIXED, BROKEN, OTHER = "fixed", "broken", "other"
"""A prediction that went from wrong to right, from right to wrong, or from wrong to another wrong class."""
ACCURACY = "accuracy"
CONFIDENCE = 0.95
"""Confidence of every interval of a difference between two snapshots."""


@dataclass(frozen=True)
class Flips:
    """The predictions of one output of a cell, before and after, over the test pairs that both have."""

    output: str
    num_common: int
    num_fixed: int
    """Wrong before, right after."""
    num_broken: int
    """Right before, wrong after."""
    accuracy: PairedDifference
    """(fixed - broken) / common with the percentile interval of the paired bootstrap over pairs, in [-1, 1]: what
    other test pairs might show of these two models; it knows nothing of other seeds."""
    p: float
    """Two-sided p value of McNemar's exact test, which expects as many fixed as broken pairs."""
    flipped: pl.DataFrame
    """A row a pair with another prediction: id, class, before, after (classes), and `flip`."""


@dataclass(frozen=True)
class ModelDifference:
    """One cell, before and after."""

    cell: Cell
    metrics: pl.DataFrame
    """A row an output and metric that is another one: output, metric, before, after (null where it is not there)."""
    flips: Mapping[str, Flips]
    """Output -> its flips; only of outputs whose predictions both snapshots have."""

    @property
    def name(self) -> str:
        """METHOD-SCHEDULER-SEED."""
        return str(self.cell)

    @property
    def judged(self) -> list[Flips]:
        """The flips of the multimodal outputs; of a method that fuses nothing those of its modalities."""
        return [self.flips[name] for name in (FUSED, OWN) if name in self.flips] or list(self.flips.values())

    @property
    def changed(self) -> bool:
        """Whether a metric or a prediction is another one."""
        return not (self.metrics.is_empty() and all(flips.flipped.is_empty() for flips in self.flips.values()))


@dataclass(frozen=True)
class SeedDifference:
    """One output of a method and a scheduler over the seeds that both snapshots have."""

    method: str
    scheduler: str
    output: str
    accuracy: PairedDifference
    """Mean of after - before, in [-1, 1], with Student's interval over the seeds; a single seed has none."""


def flips(output: str, before: pl.DataFrame, after: pl.DataFrame) -> Flips:
    """Compare the predictions of one output: id, class and prediction; each side is right by its own class."""
    from scipy.stats import binomtest

    common = keyed(before).join(keyed(after), on=["id", "copy"], suffix="_after", maintain_order="left")
    was, is_now = (pl.col(f"prediction{end}") == pl.col(f"class{end}") for end in ("", "_after"))
    flip = (
        pl.when(~was & is_now).then(pl.lit(FIXED)).when(was & ~is_now).then(pl.lit(BROKEN)).otherwise(pl.lit(OTHER))
    )
    columns = {"class": "class_after", "before": "prediction", "after": "prediction_after"}
    rows = common.filter((pl.col("prediction") != pl.col("prediction_after")) | (was != is_now))
    flipped = rows.select("id", flip=flip, **{name: pl.col(column) for name, column in columns.items()})
    num_fixed, num_broken = (len(flipped.filter(pl.col("flip") == kind)) for kind in (FIXED, BROKEN))
    total = num_fixed + num_broken
    p = float(binomtest(num_fixed, total).pvalue) if total else 1.0
    accuracy = flip_difference(num_fixed, num_broken, len(common))
    return Flips(output, len(common), num_fixed, num_broken, accuracy, p, flipped)


def flip_difference(num_fixed: int, num_broken: int, num_pairs: int) -> PairedDifference:
    """(fixed - broken) / pairs with the percentile interval of the paired bootstrap over pairs; nan without pairs.

    A pair drawn anew is fixed, broken or neither, so the counts of a resample follow a multinomial distribution:
    drawing them gives the same interval as drawing the pairs. The generator is always the same one.
    """
    if not num_pairs:
        return PairedDifference(float("nan"), float("nan"), float("nan"), 0)
    shares = np.array([num_fixed, num_broken, num_pairs - num_fixed - num_broken]) / num_pairs
    drawn = np.random.default_rng(0).multinomial(num_pairs, shares, size=NUM_RESAMPLES)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile((drawn[:, 0] - drawn[:, 1]) / num_pairs, [tail, 1 - tail])
    return PairedDifference((num_fixed - num_broken) / num_pairs, float(low), float(high), num_pairs)


def model_difference(
    cell: Cell,
    metrics: tuple[pl.DataFrame, pl.DataFrame],
    predictions: tuple[pl.DataFrame, pl.DataFrame] | None,
) -> ModelDifference:
    """Compare a cell.

    Args:
        cell: method, scheduler, seed.
        metrics: before and after, a row an output.
        predictions: before and after, a row a pair and output: id, class, prediction; None where one is not there.
    """
    by_output: dict[str, Flips] = {}
    if predictions:
        outputs = [set(table["output"].unique()) for table in predictions]
        for output in sorted(outputs[0] & outputs[1]):
            before, after = (table.filter(output=output) for table in predictions)
            by_output[output] = flips(output, before, after)
    return ModelDifference(cell, _metrics(*metrics), by_output)


def seed_differences(
    metrics: tuple[Mapping[Cell, pl.DataFrame], Mapping[Cell, pl.DataFrame]],
    predictions: tuple[Mapping[Cell, pl.DataFrame], Mapping[Cell, pl.DataFrame]] | None = None,
) -> tuple[SeedDifference, ...]:
    """The mean difference of the accuracy over the seeds, for each method, scheduler and output of both.

    Args:
        metrics: before and after, cell -> a row an output.
        predictions: before and after, cell -> a row a pair and output, where the two have other test pairs: the
            accuracies are then those over the pairs that both have, of the cells that have predictions. None where
            the test pairs are the same.
    """
    groups: dict[tuple[str, str, str], list[float]] = {}
    for cell in [cell for cell in metrics[0] if cell in metrics[1]]:
        for output, gain in _gains(cell, metrics, predictions):
            groups.setdefault((cell.method, cell.scheduler, output), []).append(gain)
    return tuple(
        SeedDifference(*key, paired_difference(gains, [0.0] * len(gains), CONFIDENCE))
        for key, gains in groups.items()
    )


def _gains(
    cell: Cell,
    metrics: tuple[Mapping[Cell, pl.DataFrame], Mapping[Cell, pl.DataFrame]],
    predictions: tuple[Mapping[Cell, pl.DataFrame], Mapping[Cell, pl.DataFrame]] | None,
) -> Iterator[tuple[str, float]]:
    """Output and after - before of its accuracy."""
    old, new = (dict(side[cell].select("output", ACCURACY).iter_rows()) for side in metrics)
    for output in [output for output in old if output in new]:
        if predictions is None:
            yield output, new[output] - old[output]
        elif all(cell in side for side in predictions):
            found = flips(output, *(side[cell].filter(output=output) for side in predictions))
            if found.num_common:
                yield output, found.accuracy.mean


def _metrics(before: pl.DataFrame, after: pl.DataFrame) -> pl.DataFrame:
    names = {"variable_name": "metric", "index": "output"}
    long = [table.unpivot(index=names["index"], variable_name=names["variable_name"]).with_columns(
        pl.col("value").cast(pl.Float64)) for table in (before, after)]  # fmt: skip
    both = long[0].join(long[1], on=["output", "metric"], how="full", coalesce=True, suffix="_after",
                        maintain_order="left_right")  # fmt: skip
    old, new = pl.col("value"), pl.col("value_after")
    differs = ((old - new).abs() > TOLERANCE) | (old.is_null() != new.is_null())
    return both.filter(differs.fill_null(value=False)).select("output", "metric", before=old, after=new)
