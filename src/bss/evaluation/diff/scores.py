"""How the balance scores of two snapshots differ. Scores are those of training pairs: no other split has any."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import nan

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from bss.evaluation.comparing.agreement import rank_correlation, top_overlap

SHARES = (0.01, 0.1, 0.5)
SCORE = "balance_score"
TOLERANCE = 1e-9
"""Numbers that lie no further apart are the same one: another machine gives other last bits."""


@dataclass(frozen=True)
class Overlap:
    """How many of the k pairs at either end of the one ranking are among those k of the other."""

    share: float
    """k as a share of the common pairs, in (0, 1]."""
    k: int
    most: float
    """Overlap of the k most balanced pairs: |A_k and B_k| / k, in [0, 1]; `share` for independent rankings."""
    least: float
    """Overlap of the k least balanced pairs, likewise in [0, 1]."""


@dataclass(frozen=True)
class ScoreDifference:
    """The scores of one seed, before and after, over the training pairs that both have."""

    seed: int
    num_before: int
    num_after: int
    num_common: int
    correlation: float
    """Spearman's rank correlation in [-1, 1]; nan where it is not defined."""
    criteria: Mapping[str, float]
    """Criterion that both measured -> the same correlation."""
    overlaps: tuple[Overlap, ...]
    moved: pl.DataFrame
    """A row a common pair: id, class, before, after (scores) and movement, the furthest first."""
    by_class: pl.DataFrame
    """A row a class, see `movement_by_class`."""

    @property
    def changed(self) -> bool:
        """Whether a score is another one, or a pair has come or gone."""
        same = np.abs(self.moved["before"].to_numpy() - self.moved["after"].to_numpy()) <= TOLERANCE
        return not (self.num_before == self.num_after == self.num_common and same.all())


def normalised_ranks(scores: ArrayLike) -> NDArray[np.float64]:
    """Ranks (N,) of scores (N,) in [0, 1], 0 the least balanced and 1 the most; equal scores share their ranks' mean.

    (rank - 1) / (N - 1), and 0.5 for a pair alone.
    """
    from scipy.stats import rankdata

    ranks = np.asarray(rankdata(scores), dtype=float)
    return (ranks - 1) / (len(ranks) - 1) if len(ranks) > 1 else np.full(len(ranks), 0.5)


def score_difference(seed: int, before: pl.DataFrame, after: pl.DataFrame) -> ScoreDifference:
    """Compare the scores of one seed.

    A pair's movement is the change of its normalised rank among the common pairs, in [-1, 1]; upwards is towards
    balance.

    Args:
        seed: of the warm-up.
        before: id, class, balance_score and the criteria; larger is more balanced.
        after: the same columns; a pair's class is the one that it has here.
    """
    common = keyed(before).join(keyed(after), on=["id", "copy"], suffix="_after", maintain_order="left")
    old, new = common[SCORE].to_numpy(), common[f"{SCORE}_after"].to_numpy()
    moved = pl.DataFrame(
        {
            "id": common["id"],
            "class": common["class_after"],
            "before": old,
            "after": new,
            "movement": normalised_ranks(new) - normalised_ranks(old),
        }
    ).sort(pl.col("movement").abs(), descending=True, maintain_order=True)
    criteria = [name for name in before.columns if f"{name}_normalised" in before.columns and name in after.columns]
    return ScoreDifference(
        seed,
        len(before),
        len(after),
        len(common),
        _correlation(old, new),
        {name: _correlation(common[name], common[f"{name}_after"]) for name in criteria},
        tuple(_overlap(old, new, share) for share in SHARES) if len(common) > 1 else (),
        moved,
        movement_by_class(moved),
    )


def keyed(table: pl.DataFrame) -> pl.DataFrame:
    """A table with a `copy` beside each id: which of the rows of that id it is, from 0."""
    return table.with_columns(copy=pl.int_range(pl.len(), dtype=pl.UInt32).over("id"))


def _correlation(first: ArrayLike, second: ArrayLike) -> float:
    first, second = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    return rank_correlation(first, second) if len(first) > 1 else nan


def _overlap(old: NDArray[np.float64], new: NDArray[np.float64], share: float) -> Overlap:
    k = max(1, round(share * len(old)))
    return Overlap(share, k, top_overlap(old, new, share), top_overlap(-old, -new, share))


def movement_by_class(moved: pl.DataFrame) -> pl.DataFrame:
    """A row a class of rows as in `ScoreDifference.moved`: class, num_pairs, mean movement and mean of its magnitude
    (`distance`, in [0, 1]), the largest first.
    """
    distance = pl.col("movement").abs().mean().alias("distance")
    found = moved.group_by("class").agg(pl.len().alias("num_pairs"), pl.col("movement").mean(), distance)
    return found.sort("distance", "class", descending=[True, False])
