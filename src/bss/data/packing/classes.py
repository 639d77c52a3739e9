"""How many pairs of each class are in each split: what a drawn split may have lost."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bss.types import Split

if TYPE_CHECKING:
    import polars as pl


def count_classes(items: "pl.DataFrame", classes: Sequence[str]) -> "pl.DataFrame":
    """A row a class, in their order: `class`, and the number of its pairs in each split, int64.

    Args:
        items: those that are used: label and split.
        classes: of the data set, in their order.
    """
    import polars as pl

    counts: dict[tuple[str, str], int] = dict.fromkeys(((name, split) for name in classes for split in Split), 0)
    for label, split, number in items.group_by("label", "split").len().iter_rows():
        counts[label, split] = number
    columns = {split.value: [counts[name, split] for name in classes] for split in Split}
    return pl.DataFrame({"class": list(classes), **columns}, schema_overrides=dict.fromkeys(columns, pl.Int64))


def absent_classes(counts: "pl.DataFrame") -> dict[Split, tuple[str, ...]]:
    """Split -> the classes of which it has no pair, where there are some."""
    found = {split: tuple(counts.filter(counts[split.value] == 0)["class"]) for split in Split}
    return {split: names for split, names in found.items() if names}
