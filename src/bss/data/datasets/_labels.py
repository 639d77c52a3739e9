"""Labels as a person reads them: what differs in its spelling alone is one class."""

import re
import unicodedata
from collections.abc import Iterable
from contextlib import suppress
from math import isfinite
from typing import TYPE_CHECKING

from bss.errors import InputError

if TYPE_CHECKING:
    import polars as pl

NOTHING = {"", "nan"}
"""What stands for no label, however it is written."""
EXACT = 2**53
"""Whole numbers from here on are not all floats."""
MIN_ROWS = 5
"""Labels of which half may be different ones by chance."""


def as_read(label: str) -> str:
    """The label without what a reader overlooks: case, white space, ways to write one letter or one number."""
    plain = "".join(unicodedata.normalize("NFKC", label).split()).casefold()
    with suppress(ValueError):
        number = float(plain.replace("_", "x"))  # Python takes 1_0 for a number
        if abs(number) < EXACT:
            return repr(number)
        return repr(int(plain))
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


def check_classes(file: str, labels: list[str]) -> None:
    """Refuse what is no classification: a number to predict, or several classes at a time.

    Raises:
        InputError: the message says what was found.
    """
    known = set(labels)
    if 2 * len(known) > len(labels) > MIN_ROWS and all(map(is_number, known)):
        raise InputError(
            f"{file}: the label is a number ({labels[0]}, {labels[1]}, ...), and nearly every row has another one; "
            "bss trains classifiers: cut it into classes"
        )
    for row, label in enumerate(labels, 1):
        parts = {part.strip() for mark in ";|" if mark in label for part in label.split(mark)}
        if parts & known:
            raise InputError(
                f"{file}: the label '{label}' (labelled row {row}) is several: {sorted(parts & known)} are classes "
                "by themselves; bss gives each row one class"
            )


def is_number(label: str) -> bool:
    """Whether it is written as a number."""
    try:
        float(label)
    except ValueError:
        return False
    return True


def as_text(column: "pl.Series", role: str, origin: str) -> "pl.Series":
    """A column of labels, names or groups as text.

    Raises:
        InputError: its cells hold several values.
    """
    import polars as pl

    if column.dtype.is_nested() or column.dtype in (pl.Object, pl.Binary):
        several = "; bss gives each row one class" if role == "label" else ""
        raise InputError(
            f"{origin}: the {role} is in the column '{column.name}', whose cells are no single values "
            f"({column.dtype}){several}"
        )
    return column.cast(pl.String)
