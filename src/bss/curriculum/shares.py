"""Draws from scores of which each rank holds its own alone: first how many from each share, then from this rank's."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from bss.measure.ranks import AllRanks

BLOCK = 2**16
"""Most samples at a time, so that what is needed for a while stays small, and in the processor's cache."""

Counts = Callable[[np.ndarray, int, np.random.Generator], np.ndarray]
"""Weights, number of draws, generator -> how many draws fall on each weight."""


@dataclass(frozen=True)
class Shares:
    """What a scheduler draws with: the shares of all ranks, and generators of this epoch."""

    ranks: AllRanks
    num_samples: int
    """N, over all ranks."""
    together: np.random.Generator
    """Draws the same on every rank."""
    generator: np.random.Generator
    """This rank's own."""

    def draws(self, weights: Callable[[slice], np.ndarray], num_own: int, counts: Counts) -> np.ndarray:
        """This rank's part of N draws with replacement, places among its own samples, int64, in random order.

        The draws are divided over the ranks, this rank's over blocks of its samples, and a block's over samples.

        Args:
            weights: of some of the own samples, float64, on one scale over all ranks.
            num_own: number of the own samples.
            counts: how many draws fall on each rank, block or sample.
        """
        sums = np.array([weights(part).sum() for part in blocks(num_own)])
        of_ranks = self.ranks.each(sums.sum())
        num_draws = int(counts(of_ranks, self.num_samples, self.together)[self.ranks.rank])
        drawn, stop = np.empty(num_draws, dtype=np.int64), 0
        for part, number in zip(blocks(num_own), counts(sums, num_draws, self.generator), strict=True):
            start, stop = stop, stop + number
            times = counts(weights(part), number, self.generator)
            drawn[start:stop] = np.repeat(np.arange(part.start, part.stop), times)
        self.generator.shuffle(drawn)
        return drawn


def blocks(number: int) -> Iterator[slice]:
    """Slices of at most `BLOCK` and of one size, to one, that cover so many."""
    num_blocks = -(-number // BLOCK)
    return (slice(k * number // num_blocks, (k + 1) * number // num_blocks) for k in range(num_blocks))


def dealt(indices: np.ndarray, ranks: AllRanks) -> np.ndarray:
    """As many indices on every rank, in their order: those with too many hand some to those with too few.

    What is handed over comes from places evenly spaced over the epoch, and goes to such places. The first of the
    longest come again where the number is no multiple of that of the ranks.
    """
    lengths = ranks.each(len(indices)).astype(np.int64)
    length, longest = -(-lengths.sum() // ranks.num_replicas), lengths.argmax()
    lengths[longest] += length * ranks.num_replicas - lengths.sum()
    if lengths[ranks.rank] > len(indices):
        indices = np.resize(indices, lengths[ranks.rank])
    moved = _moved(lengths - length)
    if not moved.any():
        return indices
    leaves = _evenly_spaced(moved[ranks.rank].sum(), len(indices))
    taken = ranks.exchange(np.split(indices[leaves], np.cumsum(moved[ranks.rank])[:-1]))
    if not len(taken):
        return np.asarray(indices[~leaves])
    comes = _evenly_spaced(len(taken), length)
    result = np.empty(length, dtype=indices.dtype)
    result[comes], result[~comes] = taken, indices  # a rank that takes has none to hand over
    return result


def _moved(surplus: np.ndarray) -> np.ndarray:
    """How many indices each rank hands to each other, (ranks, ranks): the first with too many to the first short."""
    givers, takers = (np.cumsum(np.maximum(numbers, 0)) for numbers in (surplus, -surplus))
    starts = np.maximum.outer(np.insert(givers, 0, 0)[:-1], np.insert(takers, 0, 0)[:-1])
    return np.asarray(np.maximum(np.minimum.outer(givers, takers) - starts, 0))


def _evenly_spaced(number: int, length: int) -> np.ndarray:
    """Which of so many places are taken, (length,), bool."""
    is_taken = np.zeros(length, dtype=bool)
    is_taken[np.arange(number) * length // max(1, number)] = True
    return is_taken
