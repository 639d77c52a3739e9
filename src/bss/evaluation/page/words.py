"""Numbers as a reader sees them; "-" stands for what is not there."""

from collections.abc import Mapping, Sequence
from math import isnan

ABSENT = "-"
RULES = {
    "fused": "of the fusion",
    "sum": "sum of the modalities' logits",
    "sum_all": "sum of the logits of the modalities and the fusion",
    "weighted": "mean of the modalities' probabilities, weights chosen on validation",
}
"""`evaluate.rule` -> what made the multimodal predictions."""


def percent(share: float | None) -> str:
    """A share in [0, 1] as percent with one decimal."""
    return _hundredfold(share, ".1f")


def mean_sd(mean: float, sd: float) -> str:
    """Mean and standard deviation of shares in percent, as in `93.1 ± 0.4`; one seed has no deviation."""
    return percent(mean) if isnan(sd) else f"{percent(mean)} ± {percent(sd)}"


def level(confidence: float) -> str:
    """A confidence in (0, 1), as in `95 %`."""
    return f"{100 * confidence:g} %"


def t_interval(confidence: float) -> str:
    """The name of the interval of a mean over seeds, as in `95 % t interval`: it is always Student's."""
    return f"{level(confidence)} t interval"


def to_reference(reference: str, confidence: float) -> str:
    """The head of a column of differences with their intervals, as in `to random [95 % t]`."""
    return f"to {reference} [{level(confidence)} t]"


def run_name(method: str, scheduler: str, several: bool, labels: Mapping[str, str]) -> str:
    """The one name of a run on every page: `learned`, or `ogm · learned` where there are several methods.

    Args:
        method: as params.yaml has it.
        scheduler: likewise.
        several: whether there are several methods.
        labels: what a reader sees of those that have longer names in params.yaml than a reader needs.
    """
    order = labels.get(scheduler, scheduler)
    return f"{labels.get(method, method)} · {order}" if several else order


def points(difference: float | None) -> str:
    """A difference of shares in points of percent, with its sign."""
    return _hundredfold(difference, "+z.1f")


def interval(difference: float | None, low: float | None, high: float | None) -> str:
    """A difference and its interval in points, as in `+2.4 [+0.9, +3.9]`; without an interval `+2.4 [-]`."""
    if points(difference) == ABSENT:
        return ABSENT
    bounds = ABSENT if points(low) == ABSENT else f"{points(low)}, {points(high)}"
    return f"{points(difference)} [{bounds}]"


def listed(words: Sequence[str]) -> str:
    """Words as in `a, b and c`."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def shortened(name: str, length: int = 12) -> str:
    """A name that fits beside an axis; both ends are kept, for names often differ in the last letters."""
    half = length // 2
    return name if len(name) <= length else f"{name[: half - 1]}…{name[-half:]}"


def _hundredfold(number: float | None, pattern: str) -> str:
    return ABSENT if number is None or isnan(number) else format(100 * number, pattern)
