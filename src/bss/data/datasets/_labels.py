"""Labels as a person reads them: what differs in its spelling alone is one class."""

import re
import unicodedata
from collections.abc import Iterable
from contextlib import suppress
from math import isfinite

NOTHING = {"", "nan"}
"""What stands for no label, however it is written."""


def as_read(label: str) -> str:
    """The label without what a reader overlooks: case, white space, ways to write one letter or one number."""
    plain = "".join(unicodedata.normalize("NFKC", label).split()).casefold()
    with suppress(ValueError):
        return repr(float(plain.replace("_", "x")))  # Python takes 1_0 for a number
    return plain


def is_none(label: str | None) -> bool:
    """Whether nothing is written there."""
    return label is None or label.strip().casefold() in NOTHING


def natural_order(labels: Iterable[str]) -> list[str]:
    """The labels as a person would sort them: numbers by their value, and so the whole numbers within words."""
    labels = sorted(labels)
    with suppress(ValueError):
        numbers = {label: float(label) for label in labels}
        if all(map(isfinite, numbers.values())):
            return sorted(labels, key=lambda label: numbers[label])
    return sorted(labels, key=_parts)


def _parts(label: str) -> list[tuple[int, int, str]]:
    parts = re.split(r"([0-9]+)", label)  # every second part is a number
    return [(0, int(part), "") if place % 2 else (1, 0, part) for place, part in enumerate(parts) if part]
