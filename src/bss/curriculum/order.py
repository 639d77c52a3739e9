"""From scores to an order, probabilities and draws, for up to 10^8 samples; nothing else sorts scores."""

from collections.abc import Callable

import numpy as np

from bss.measure.ranks import AllRanks


def ordered(scores: np.ndarray, *, anti: bool = False) -> np.ndarray:
    """Sample indices (N,), int64, from the most to the least balanced; reversed where `anti`.

    Equal scores keep the order of their indices, so the result is a function of the scores alone.
    """
    return np.argsort(scores if anti else -scores, kind="stable")


def largest(values: np.ndarray, num: int) -> np.ndarray:
    """The places (num,), int64, of the largest values, the largest first; of equal ones the lower place first."""
    return ordered(values)[:num]


def relative_rarity(scores: np.ndarray, others: np.ndarray) -> np.ndarray:
    """How common scores as low as each are among others, by how common they are here: (N,), float64, in (0, 1].

    The ratio of the two cumulative distributions, at most 1, and nowhere more than at a higher score.

    Args:
        scores: (N,).
        others: (M,), in the same scale; half of one more counts as lower, so that no ratio is 0.
    """
    among_others = (np.searchsorted(np.sort(others), scores, side="right") + 0.5) / (len(others) + 1)
    order = np.argsort(scores, kind="stable")
    here = np.searchsorted(scores[order], scores, side="right") / len(scores)
    ratios = np.minimum(1, among_others / here)
    ratios[order] = np.minimum.accumulate(ratios[order][::-1])[::-1]
    return ratios


def within_class(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Scores (N,), float64, by which a sample stands in the whole where it stands in its class.

    The quantile of all scores at the sample's mid-rank among those of its class; equal scores of a class stay equal.
    So all classes have the same distribution, near that of all, and whatever draws by it keeps their shares.

    Args:
        scores: (N,).
        labels: (N,), the class of each sample.
    """
    result = np.empty(len(scores), dtype=np.float64)
    quantiles = (np.arange(len(scores)) + 0.5) / len(scores)
    of_all = np.sort(scores)
    by_label = np.argsort(labels, kind="stable")
    starts = np.flatnonzero(np.diff(labels[by_label])) + 1
    for members in np.split(by_label, starts):
        of_class = np.sort(scores[members])
        below, until = (np.searchsorted(of_class, scores[members], side=side) for side in ("left", "right"))
        result[members] = np.interp((below + until) / 2 / len(members), quantiles, of_all)
    return result


def is_in_play(scores: np.ndarray, num_in_play: int, ranks: AllRanks, *, anti: bool = False) -> np.ndarray:
    """Which of this rank's own samples, (N / ranks,), bool, are among the first of all in the order of `ordered`.

    The cut is found by bisection: over the 2^32 values of a float32, then over the indices of those that are equal
    there. Each step counts on every rank; nothing is sorted or exchanged.

    Args:
        scores: of this rank's own samples, float32.
        num_in_play: number of the first, over all ranks, at least 1.
        ranks: that hold the others.
        anti: reverse the order of the scores.
    """
    # As whole numbers in the order of the values; 0 and -0 are equal.
    keys = (scores if anti else -scores).astype(np.float32) + np.float32(0)
    whole = keys.view(np.int32)
    whole ^= (whole >> 31) & np.int32(2**31 - 1)
    cut = _first(lambda key: int((whole <= key).sum()), num_in_play, (-(2**31), 2**31 - 1), ranks)
    equal = np.flatnonzero(whole == cut)
    num_left = num_in_play - int(ranks.each(np.count_nonzero(whole < cut)).sum())
    indices = equal * ranks.num_replicas + ranks.rank
    last = _first(lambda index: int((indices <= index).sum()), num_left, (0, ranks.num_replicas * 2**31), ranks)
    chosen = np.asarray(whole < cut)
    chosen[equal[indices <= last]] = True
    return chosen


def _first(count: Callable[[int], int], wanted: int, within: tuple[int, int], ranks: AllRanks) -> int:
    """The smallest number at which the counts of all ranks come to what is wanted."""
    low, high = within
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if ranks.each(count(middle)).sum() >= wanted else (middle + 1, high)
    return low


def softmax(scores: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Sampling probabilities (N,), float64, proportional to exp(score / temperature); they sum to 1."""
    weights = scores / temperature
    weights -= weights.max()
    np.exp(weights, out=weights)
    weights /= weights.sum()
    return weights


def multinomial(probabilities: np.ndarray, num_draws: int, generator: np.random.Generator) -> np.ndarray:
    """Independent draws with replacement, (num_draws,), int64, in random order.

    Sorted uniforms come as the running sum of exponential spacings, so that the cumulative probabilities are
    walked through once instead of being searched at random.
    """
    positions = np.cumsum(generator.standard_exponential(num_draws + 1))
    positions /= positions[-1]
    return _drawn(probabilities, positions[:-1], generator)


def systematic(probabilities: np.ndarray, num_draws: int, generator: np.random.Generator) -> np.ndarray:
    """Evenly spaced draws with replacement, (num_draws,), int64, in random order.

    A sample of probability p is drawn floor or ceil of p num_draws times, and p num_draws times in expectation.
    """
    positions = np.arange(num_draws, dtype=np.float64)
    positions += generator.random()
    positions /= num_draws
    return _drawn(probabilities, positions, generator)


def multinomial_counts(weights: np.ndarray, num_draws: int, generator: np.random.Generator) -> np.ndarray:
    """How many of so many independent draws fall on each of the weights, (len(weights),), int64."""
    if not num_draws:  # the weights may be too small for their type, and sum to 0
        return np.zeros(len(weights), dtype=np.int64)
    return generator.multinomial(num_draws, weights / weights.sum())


def systematic_counts(weights: np.ndarray, num_draws: int, generator: np.random.Generator) -> np.ndarray:
    """How many of so many evenly spaced draws fall on each of the weights, (len(weights),), int64.

    Floor or ceil of the expected number, which is their mean.
    """
    if not num_draws:
        return np.zeros(len(weights), dtype=np.int64)
    bounds = np.cumsum(weights)
    bounds /= bounds[-1]
    places = np.floor(bounds * num_draws + generator.random()).astype(np.int64)
    return np.diff(np.minimum(places, num_draws), prepend=0)


def weighted_permutation(weights: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """All indices (N,), int64, as if drawn one by one without replacement by the weights left.

    Exponential variables divided by the weights finish in that order (Efraimidis and Spirakis, 2006).
    """
    keys = generator.standard_exponential(len(weights), dtype=weights.dtype)
    keys /= weights
    return np.argsort(keys, kind="stable")


def _drawn(probabilities: np.ndarray, positions: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """The samples in whose share of [0, 1) the ascending positions fall, shuffled."""
    bounds = np.cumsum(probabilities)
    if not bounds[-1] > 0:
        raise ValueError(f"the weights of {len(bounds)} samples sum to {bounds[-1]}, expected more than 0")
    bounds /= bounds[-1]
    indices = np.searchsorted(bounds[:-1], positions, side="right").astype(np.int64, copy=False)
    generator.shuffle(indices)
    return indices


DRAWS = {"multinomial": multinomial, "systematic": systematic}
COUNTS = {"multinomial": multinomial_counts, "systematic": systematic_counts}
