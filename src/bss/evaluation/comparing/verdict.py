"""What a comparison shows, in words: its finding, how its intervals are made, and what so many seeds cannot show."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isnan
from statistics import median
from typing import Any

import polars as pl

from bss.evaluation.comparing.statistics import PairedDifference, least_p, pairs_to_tell, sd_of_differences
from bss.evaluation.page.section import Verdict
from bss.evaluation.page.words import interval, level, t_interval
from bss.wording import counted

TOLD_APART, POWER = 0.005, 0.8
"""The difference of accuracies that a study may be asked to find, and how often it should."""
SMALL = 0.01
"""A gain that is worth having: runs whose intervals all end below it are said not to reach it."""
NUM_NAMED = 3
"""Runs that a remark names; of more it says how many."""


@dataclass(frozen=True)
class Compared:
    """A run against the one that it is compared with: the difference of their accuracies."""

    name: str
    found: PairedDifference


def compared(name: str, row: Mapping[str, Any], prefix: str = "") -> Compared:
    """A row of a table with the columns difference, low and high behind a prefix, and num_seeds."""
    difference, low, high = (float(row[f"{prefix}{end}"]) for end in ("difference", "low", "high"))
    return Compared(name, PairedDifference(difference, low, high, int(row["num_seeds"])))


def comparison_verdict(
    runs: Sequence[Compared], noun: str, reference: str, confidence: float, repeat: str = "seed"
) -> Verdict:
    """Whether any of several runs is better than `reference`, in plain words.

    Args:
        runs: at least one, in any order.
        noun: what one of them is: `order`.
        reference: what they are compared with, as it stands in a sentence: `random order`.
        confidence: of the intervals, in (0, 1).
        repeat: what the pairs are of: `seed` or `fold`.
    """
    ranked = sorted(runs, key=lambda run: -run.found.mean)
    best, number = ranked[0], len(ranked)
    if best.found.num_pairs == 1:
        sentence = f"One seed cannot show whether any {noun} beats {reference}: the best, {best.name}, differs by"
        return Verdict(f"{sentence} {in_points(best.found)}.")
    better, worse = [run for run in ranked if run.found.low > 0], [run for run in ranked if run.found.high < 0]
    is_small, gain = all(run.found.high < SMALL for run in ranked), f"{100 * SMALL:.0f} point"
    if better:
        others = f"; so do {len(better) - 1} more" if len(better) > 1 else ""
        sentence = f"{better[0].name} beats {reference} by {in_points(better[0].found)}{others}."
    elif number == 1:
        verb = f"does not gain {gain} over" if is_small else "is not shown to beat"
        verb = "is worse than" if worse else verb
        sentence = f"{best.name} {verb} {reference}: it differs by {in_points(best.found)}."
    else:
        whether = f"No {noun} is shown to beat"
        if len(worse) == number:
            whether = f"Every {noun} is worse than"
        elif is_small:
            whether = f"No {noun} gains {gain} over"
        sentence = f"{whether} {reference}: {best.name}, the best of {number}, differs by {in_points(best.found)}."
    return Verdict(
        sentence, " ".join(_trust(better, worse if number > 1 else [], number, reference, confidence, best, repeat))
    )


def _trust(
    better: Sequence[Compared],
    worse: Sequence[Compared],
    number: int,
    reference: str,
    confidence: float,
    best: Compared,
    repeat: str,
) -> Iterator[str]:
    yield f"{t_interval(confidence)} over {counted(best.found.num_pairs, f'paired {repeat}')}."
    if better and number > 1:
        by_chance = 1 - (1 - (1 - confidence) / 2) ** number
        yield (
            f"Not corrected for comparing {number}: with no effect at all, one of them would lie above 0 with a "
            f"probability of about {100 * by_chance:.0f} %."
        )
    if worse and len(worse) < number:
        yield f"Worse than {reference}: {some([f'{run.name} by {in_points(run.found)}' for run in worse[::-1]])}."


def some(runs: Sequence[str]) -> str:
    """The first of them, and how many more there are."""
    more = f" and {len(runs) - NUM_NAMED} more" if len(runs) > NUM_NAMED else ""
    return f"{', '.join(runs[:NUM_NAMED])}{more}"


def in_points(found: PairedDifference) -> str:
    """A difference with its interval, as in `+2.4 points [+0.9, +3.9]`; of one seed without."""
    number, brackets = interval(found.mean, found.low, found.high).split(" ", 1)
    return f"{number} points" if isnan(found.low) else f"{number} points {brackets}"


def interval_note(confidence: float, num_seeds: int, lows: pl.Series, num_folds: int | None = None) -> str:
    """How the intervals of differences are made, what they cover, and why some are missing.

    Args:
        confidence: of the intervals, in (0, 1).
        num_seeds: of the runs.
        lows: their lower ends, null where nothing is compared, and nan where there is no interval.
        num_folds: that the data were dealt into, if they were.
    """
    if num_folds:
        return (
            f"[{level(confidence)} t]: Student's t interval over {num_folds} paired folds, of each the mean over "
            f"{counted(num_seeds, 'seed')}, widened for what their training sets share (Nadeau and Bengio, 2003). "
            "Every pair is a test pair once, so it covers the chance in which pairs are test pairs too."
        )
    if num_seeds < 2:
        return "One seed gives no interval: a difference may be chance. Two give a wide one, five a usable one."
    alike = " [-]: no interval, for all seeds differ by the same." if lows.cast(pl.Float64).is_nan().any() else ""
    return (
        f"[{level(confidence)} t]: Student's t interval over {num_seeds} paired seeds. The seeds share one split of "
        f"the data, so it covers the chance in training, not that in which pairs are test pairs.{alike}"
    )


def power_note(found: Sequence[PairedDifference], confidence: float) -> str:
    """How many pairs would tell half a point apart, by the spread of those that there are; empty where none has one.

    Args:
        found: the differences of all rows, as shares, from pairs without overlap.
        confidence: of their intervals, in (0, 1).
    """
    spreads = [sd for each in found if not isnan(sd := sd_of_differences(each, confidence))]
    if not spreads:
        return ""
    number = pairs_to_tell(TOLD_APART, median(spreads), confidence, POWER)
    return (
        f"Differences of a pair spread by {100 * median(spreads):.1f} points (median of the rows): to find "
        f"{100 * TOLD_APART:.1f} points in {100 * POWER:.0f} of 100 studies takes {number} seeds."
    )


def has_p(confidence: float, num_seeds: int) -> bool:
    """Whether the sign-flip test of so many seeds can give a p value that `confidence` asks for."""
    return least_p(num_seeds) <= 1 - confidence


def p_note(confidence: float, num_seeds: int, num_compared: int, repeat: str = "seed") -> str:
    """What the sign-flip test of so many pairs and rows cannot show; empty where there is nothing to say.

    Args:
        confidence: that is asked for, in (0, 1).
        num_seeds: number of pairs.
        num_compared: number of rows that are compared.
        repeat: what the pairs are of: `seed` or `fold`.
    """
    wanted, least = 1 - confidence, least_p(num_seeds)
    if not has_p(confidence, num_seeds):
        enough = next(number for number in range(1, 64) if has_p(confidence, number))
        return (
            f"No p value: the sign-flip test of {counted(num_seeds, repeat)} cannot give less than {least:.2g}; "
            f"from {enough} {repeat}s on it can reach {wanted:.2g}."
        )
    if (corrected := min(1.0, num_compared * least)) > wanted:
        return (
            f"Corrected for {num_compared} rows, the sign-flip test of {num_seeds} {repeat}s gives no Holm p below "
            f"{corrected:.2g}."
        )
    return ""
