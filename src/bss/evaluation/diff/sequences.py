"""How the training sequences of two snapshots differ: those laid out, and what training has drawn."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from bss.curriculum.plan import recorded_indices
from bss.evaluation.artifacts import read_table
from bss.evaluation.diff.scores import TOLERANCE, keyed

EPOCHS = {"epoch": pl.Int64, "num_before": pl.Int64, "num_after": pl.Int64,
          "jaccard": pl.Float64, "overlap": pl.Float64, "displacement": pl.Float64}  # fmt: skip


@dataclass(frozen=True)
class DrawDifference:
    """How often each sample is drawn, before and after."""

    num_before: float
    """Draws in all; 1 where the draws are probabilities."""
    num_after: float
    distance: float
    """Total variation between the distributions of draws over the samples, in [0, 1]."""
    drawn: pl.DataFrame
    """A row a sample of either: id, before, after (shares of the draws, in [0, 1]) and change, the largest first."""

    @property
    def changed(self) -> bool:
        """Whether a sample is drawn more or less often."""
        return abs(self.num_before - self.num_after) > TOLERANCE or self.distance > TOLERANCE


@dataclass(frozen=True)
class SequenceDifference:
    """The sequence that one scheduler laid out with one seed, before and after."""

    scheduler: str
    seed: int
    num_epochs_before: int
    num_epochs_after: int
    epochs: pl.DataFrame
    """A row an epoch that both have laid out, see `EPOCHS`: the numbers of samples, and as defined by `epoch_row`."""
    draws: DrawDifference
    """Over those epochs; where samples are drawn during training, of the probabilities to start from."""
    recorded: bool
    """Whether both laid out their sequences; else they are drawn during training."""

    @property
    def changed(self) -> bool:
        """Whether an epoch is another one; where none is laid out, whether the probabilities are."""
        same = self.epochs.filter((pl.col("overlap") != 1) | (pl.col("displacement") != 0)).is_empty()
        return not same or self.num_epochs_before != self.num_epochs_after or self.draws.changed


def jaccard(first: ArrayLike, second: ArrayLike) -> float:
    """|A and B| / |A or B| of the sets of samples in two sequences, in [0, 1]; 1 where both are empty."""
    union = len(np.union1d(first, second))
    return len(np.intersect1d(first, second)) / union if union else 1.0


def multiset_overlap(first: ArrayLike, second: ArrayLike) -> float:
    """Sum over the samples of min(draws in A, draws in B), over max(|A|, |B|), in [0, 1]; 1 where both are empty."""
    first, second = np.asarray(first), np.asarray(second)
    longest = max(len(first), len(second))
    num = 1 + max(first.max(initial=0), second.max(initial=0))
    counts = [np.bincount(places, minlength=num) for places in (first, second)]
    return float(np.minimum(*counts).sum() / longest) if longest else 1.0


def displacement(first: ArrayLike, second: ArrayLike) -> float:
    """Mean |position in A - position in B| / max(|A|, |B|) of the samples in both, in [0, 1); nan without any.

    A sample that is drawn several times has the position of its first draw.
    """
    first, second = np.asarray(first), np.asarray(second)
    (one, at_one), (other, at_other) = (np.unique(places, return_index=True) for places in (first, second))
    _, of_one, of_other = np.intersect1d(one, other, assume_unique=True, return_indices=True)
    if not len(of_one):
        return float("nan")
    return float(np.abs(at_one[of_one] - at_other[of_other]).mean() / max(len(first), len(second)))


def draw_difference(before: pl.DataFrame, after: pl.DataFrame) -> DrawDifference:
    """Compare how often each sample is drawn: half the sum of |share before - share after|.

    Args:
        before: id and num_draws >= 0; the shares are of their sum.
        after: the same columns. A sample that only one has is drawn 0 times by the other,
            as all are where nothing was drawn.
    """
    totals = float(before["num_draws"].sum()), float(after["num_draws"].sum())
    both = keyed(before).join(keyed(after), on=["id", "copy"], how="full", coalesce=True, suffix="_after")
    shares = [(pl.col(name).fill_null(0) / (total or 1)).alias(to) for name, total, to in zip(
        ("num_draws", "num_draws_after"), totals, ("before", "after"), strict=True)]  # fmt: skip
    drawn = both.select("id", *shares).with_columns(change=pl.col("after") - pl.col("before"))
    drawn = drawn.sort(pl.col("change").abs(), "id", descending=[True, False], maintain_order=True)
    return DrawDifference(totals[0], totals[1], float(drawn["change"].abs().sum() / 2), drawn)


def sequence_difference(scheduler: str, seed: int, before: Path, after: Path) -> SequenceDifference:
    """Compare two folders of the stage `curriculum`; samples are told apart by their ids, whatever their indices.

    Raises:
        ValueError: a file is damaged.
    """
    folders = (before, after)
    orders = [read_table(folder / "order.parquet") for folder in folders]
    num_before, num_after = (len(read_table(folder / "sequence.parquet", ["epoch"])) for folder in folders)
    recorded = all(order["probability"].is_null().all() for order in orders)
    rows, draws = [], [_probabilities(order) for order in orders]
    if recorded:
        codes, ids = _codes(orders)
        counts = [np.zeros(len(ids), dtype=np.int64) for _ in folders]
        for epoch in range(min(num_before, num_after)):
            drawn = [
                code[recorded_indices(folder / "sequence.parquet", epoch)]
                for folder, code in zip(folders, codes, strict=True)
            ]
            rows.append(epoch_row(epoch, drawn[0], drawn[1]))
            counts = [count + np.bincount(one, minlength=len(ids)) for count, one in zip(counts, drawn, strict=True)]
        draws = [pl.DataFrame({"id": ids, "num_draws": count}) for count in counts]
    epochs = pl.DataFrame(rows, EPOCHS, orient="row")
    compared = draw_difference(draws[0], draws[1])
    return SequenceDifference(scheduler, seed, num_before, num_after, epochs, compared, recorded)


def epoch_row(epoch: int, first: NDArray[np.int64], second: NDArray[np.int64]) -> tuple[float, ...]:
    """A row of `EPOCHS`: the lengths, and what `jaccard`, `multiset_overlap` and `displacement` give."""
    found = (jaccard(first, second), multiset_overlap(first, second), displacement(first, second))
    return epoch, len(first), len(second), *found


def _codes(orders: Sequence[pl.DataFrame]) -> tuple[list[NDArray[np.int64]], pl.Series]:
    """For each table the number of each of its samples among all ids, and the ids."""
    tables = [keyed(order.sort("index").select("id")) for order in orders]
    known = pl.concat(tables).unique(maintain_order=True).with_row_index("code")
    codes = [table.join(known, on=["id", "copy"], maintain_order="left")["code"] for table in tables]
    return [code.cast(pl.Int64).to_numpy() for code in codes], known["id"]


def _probabilities(order: pl.DataFrame) -> pl.DataFrame:
    """The probability of each sample to be drawn first; the same for all where the sequence is laid out."""
    return order.select("id", num_draws=pl.col("probability").fill_null(1 / len(order)))
