"""The curriculum as an artifact: the order, the pacing curve and the index sequences, in Parquet."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl

from bss.curriculum.order import ordered
from bss.curriculum.schedulers.scheduler import Scheduler, epoch_indices
from bss.errors import InputError
from bss.files import existing, replaced


def order_table(
    scheduler: Scheduler, ids: pl.Series, scores: np.ndarray, labels: np.ndarray | None = None
) -> pl.DataFrame:
    """One row a training sample: index, id, balance_score, rank, probability.

    `rank` is the place in the order, from 0, which is drawn first; `probability` that of the first epoch, or null.
    """
    followed = scheduler.followed(scores, labels)
    place = np.empty(len(scores), dtype=np.int64)
    place[ordered(followed, anti=scheduler.anti)] = np.arange(len(scores))
    probabilities = scheduler.probabilities(followed)
    return pl.DataFrame(
        {
            "index": np.arange(len(scores)),
            "id": ids,
            "balance_score": scores,
            "rank": place,
            "probability": pl.Series(probabilities, dtype=pl.Float64)
            if probabilities is not None
            else pl.repeat(None, len(scores), dtype=pl.Float64, eager=True),
        }
    )


def sequence_table(
    scheduler: Scheduler, scores: np.ndarray, seed: int, num_epochs: int, labels: np.ndarray | None = None
) -> pl.DataFrame:
    """One row an epoch: epoch, fraction and num_samples in play, indices (int32).

    The indices are null where the scheduler draws them from scores that training has yet to measure.
    """
    epochs = range(num_epochs)
    is_fixed = scheduler.probabilities(scheduler.followed(scores, labels)) is None
    indices = [
        pl.Series(epoch_indices(scheduler, scores, seed, epoch, labels), dtype=pl.Int32) if is_fixed else None
        for epoch in epochs
    ]
    fractions = [scheduler.fraction(epoch) for epoch in epochs]
    num_samples = [scheduler.num_in_play(len(scores), epoch) for epoch in epochs]
    return pl.DataFrame(
        {
            "epoch": pl.Series(epochs, dtype=pl.Int32),
            "fraction": pl.Series(fractions, dtype=pl.Float64),
            "num_samples": pl.Series(num_samples, dtype=pl.Int32),
            "indices": pl.Series(indices, dtype=pl.List(pl.Int32)),
        }
    )


def write_plan(folder: Path, order: pl.DataFrame, sequence: pl.DataFrame) -> None:
    """Write both tables; the sequences with one row group an epoch, so that one is read without the others."""
    with replaced(folder / "order.parquet") as temporary:
        order.write_parquet(temporary)
    with replaced(folder / "sequence.parquet") as temporary:
        sequence.write_parquet(temporary, compression="zstd", row_group_size=1)


def read_plan(folder: Path) -> tuple[np.ndarray, Callable[[int], np.ndarray] | None]:
    """The scores to start from, (N,), and epoch -> indices, or None where they are yet to be drawn."""
    order = pl.read_parquet(existing(folder / "order.parquet"), columns=["balance_score", "probability"])
    is_fixed = bool(order["probability"].is_null().all())
    recorded = partial(recorded_indices, folder / "sequence.parquet") if is_fixed else None
    return order["balance_score"].to_numpy(), recorded


def recorded_indices(path: Path, epoch: int) -> np.ndarray:
    """The indices of one epoch, int64, from a file of sequences.

    Raises:
        InputError: the file holds no sequence for that epoch.
    """
    rows = pl.scan_parquet(path).filter(pl.col("epoch") == epoch).select("indices").collect()
    if not len(rows) or rows["indices"][0] is None:
        raise InputError(f"{path}: no sequence for epoch {epoch}")
    return np.asarray(rows["indices"][0], dtype=np.int64)
