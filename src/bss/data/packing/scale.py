"""Mean and standard deviation of the training split, by which a model scales its inputs."""

from typing import NamedTuple

import numpy as np

ROWS = 4096
"""Rows of an array that are read at a time."""


class Moments(NamedTuple):
    """Count, mean and squared distances of some values, computed in float64."""

    num_values: int
    mean: float
    squares: float
    """Sum of the squared distances from the mean."""


def moments(row: np.ndarray) -> Moments:
    """The moments of the values of a row, without those that are NaN."""
    single = row.ravel().astype(np.float32) if row.dtype == np.float16 else row.ravel()
    values = single.astype(np.float64)  # of half precision twice as fast by way of single
    if row.dtype.kind == "f" and np.isnan(values).any():
        values = values[~np.isnan(values)]
    mean = float(values.mean())
    values -= mean
    return Moments(values.size, mean, float(np.einsum("i,i->", values, values)))


def mean_and_std(rows: np.ndarray) -> tuple[float, float]:
    """Mean and standard deviation over the values of all rows; 0 and 1 of none, and a constant has deviation 1.

    Args:
        rows: the `Moments` of each, (n, 3).
    """
    if not len(rows):
        return 0.0, 1.0
    counts, means, squares = rows.T
    mean = float((counts * means).sum() / counts.sum())
    variance = (squares + counts * np.square(means - mean)).sum() / counts.sum()
    return mean, float(np.sqrt(variance)) or 1.0


def by_number(array: np.ndarray, rows: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each number of the last axis; NaN is left out, a constant has deviation 1.

    Args:
        array: (n, ..., C), on the disk as well.
        rows: those that count, rising.

    Returns:
        C means and C deviations; 0 and 1 for a number that no row has.
    """
    chunks = np.array_split(rows, -(-len(rows) // ROWS) or 1)
    width = array.shape[-1]
    counts, sums, squares = np.zeros(width), np.zeros(width), np.zeros(width)
    least, most = np.full(width, np.inf), np.full(width, -np.inf)
    for chunk in chunks:
        values = array[chunk].reshape(-1, width).astype(np.float64)
        there = ~np.isnan(values)
        counts += there.sum(axis=0)
        sums += np.where(there, values, 0).sum(axis=0)
        least = np.fmin(least, np.where(there, values, np.inf).min(axis=0, initial=np.inf))
        most = np.fmax(most, np.where(there, values, -np.inf).max(axis=0, initial=-np.inf))
    means = sums / np.maximum(counts, 1)
    for chunk in chunks:
        values = array[chunk].reshape(-1, width).astype(np.float64)
        squares += np.nansum(np.square(values - means), axis=0)
    deviations = np.sqrt(squares / np.maximum(counts, 1))
    is_constant = least >= most  # exactly, where rounding would leave a deviation to divide by
    return tuple(means.tolist()), tuple(np.where(is_constant, 1.0, deviations).tolist())
