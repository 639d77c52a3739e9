"""What one column of a table seems to be."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True)
class Column:
    """One column, or several that are one modality."""

    columns: list[str]
    what: str
    """`label`, `id`, `split`, `group`, the name of a kind, or `-`: kept beside the pairs."""
    why: str
    kind: dict[str, Any] | None = field(default=None)
    """Of a modality."""
    pattern: str | list[str] = ""
    """The columns as `columns` in params.yaml names them."""


def is_number(column: "pl.Series") -> bool:
    """Whether all that is there is a number, also as a text."""
    import polars as pl

    there = column.drop_nulls()
    if column.dtype == pl.String:
        there = there.filter(there.str.strip_chars() != "")
        return len(there) > 0 and there.cast(pl.Float64, strict=False).null_count() == 0
    return len(there) > 0 and column.dtype.is_numeric()


def is_whole(column: "pl.Series") -> bool:
    """Whether all numbers that are there are whole."""
    import polars as pl

    there = column.cast(pl.Float64, strict=False).drop_nulls()
    return bool((there == there.round()).all())
