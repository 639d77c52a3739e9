"""The values of a modality in the columns of a user's table."""

import json
import os
import re
from collections import Counter
from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from bss.data.datasets._labels import is_number
from bss.data.kinds.kind import Kind
from bss.errors import InputError, first_line

if TYPE_CHECKING:
    import polars as pl

MAX_DEPTH = 4
"""Lists within each other that a kind reads at most: people, steps, joints, coordinates."""


def matching(pattern: str | list[str], free: list[str], columns: list[str]) -> str | list[str]:
    """The columns that a pattern stands for; a name, or a list without a pattern, as it is.

    Args:
        pattern: a name, `a0..a127`, `a*`, or a list of such.
        free: columns that an asterisk may stand for.
        columns: all of the table; a column whose name has an asterisk or two dots is meant itself.

    Raises:
        InputError: an asterisk stands for no column, or a range runs backwards.
    """
    if isinstance(pattern, list):
        found = [matching(part, free, columns) for part in pattern]
        return [name for part in found for name in ([part] if isinstance(part, str) else part)]
    if pattern in columns:
        return pattern
    if span := re.fullmatch(r"(.*?)(\d+)\.\.\1(\d+)", pattern):
        stem, first, last = span.groups()
        if int(first) > int(last):
            raise InputError(
                f"columns: '{pattern}' runs backwards; '{stem}{last}..{stem}{first}' is from low to high"
            )
        width = len(first) if first.startswith("0") else 0
        return [f"{stem}{number:0{width}}" for number in range(int(first), int(last) + 1)]
    if "*" in pattern:
        if names := [name for name in free if fnmatchcase(name, pattern)]:
            return names
        raise InputError(f"columns: '{pattern}' is the beginning of no column (there are: {', '.join(columns)})")
    return pattern


def holds_files(column: "pl.Series") -> bool:
    """Whether the cells of a column are the contents of files."""
    import polars as pl

    kind = column.dtype
    return kind == pl.Binary or (isinstance(kind, pl.Struct) and "bytes" in {field.name for field in kind.fields})


def values_of(table: "pl.DataFrame", column: str | list[str], kind: Kind) -> "tuple[pl.Series, dict[int, str]]":
    """The raw values of a modality: one column of the table, or several of numbers; null where there is none.

    Returns:
        the values, and row, from 0 -> why a cell of it cannot be read.
    """
    return _joined(table, column) if isinstance(column, list) else _typed(table[column], kind)


def _typed(column: "pl.Series", kind: Kind) -> "tuple[pl.Series, dict[int, str]]":
    """A column as it is.

    Of paths with the separators of this system, null where there is only white space; `[1, 2]` in a table of text is
    a list; a number is a list of one.
    """
    import polars as pl

    if column.dtype == pl.Binary:  # the content of a file
        return pl.select(pl.when(column.is_not_null()).then(pl.struct(column.alias("bytes")))).to_series(), {}
    if column.dtype.is_numeric() and kind.shape == (1,):
        return pl.select(pl.when(column.is_not_null()).then(pl.concat_list(column))).to_series(), {}
    if column.dtype != pl.String or not kind.paths:
        return column, {}
    if kind.by_number and _mostly(column, lambda cell: cell.startswith("[")):
        return _lists(column)
    if kind.by_number and kind.shape == (1,) and _mostly(column, is_number):
        return _joined(column.to_frame(), [column.name])
    slashes = column.str.replace_all("\\", os.sep, literal=True)
    return pl.select(pl.when(slashes.str.strip_chars() != "").then(slashes)).to_series(), {}


def _mostly(column: "pl.Series", holds: Callable[[str], bool]) -> bool:
    """Whether more than half of the cells in which something is written are so."""
    cells = [cell.strip() for cell in column.drop_nulls() if cell.strip()]
    return 2 * sum(map(holds, cells)) > len(cells)


def read_list(text: str) -> list[Any]:
    """The numbers of a text such as `[0.5, 1]`, or lists of them.

    Raises:
        InputError: it is no such list; the message has its beginning.
    """
    try:
        value = json.loads(text, parse_int=float)  # an int of 5,000 digits is an error, and no kind keeps one
    except (ValueError, RecursionError) as error:
        reason = error.msg if isinstance(error, json.JSONDecodeError) else first_line(error)
        raise InputError(f"{text!r:.40} is no list of numbers: {reason}") from error
    if not isinstance(value, list) or not _depth(value):
        raise InputError(f"{text!r:.40} is no list of numbers, nor of lists of them")
    return value


def _depth(values: list[Any], most: int = MAX_DEPTH) -> int:
    """Lists within each other, down to numbers or nulls; 0 where they are more than `most`, or mixed with others."""
    types = set(map(type, values)) - {type(None)}
    if types != {list}:
        return int(types <= {float})
    depths = {_depth(part, most - 1) for part in values if part is not None} if most > 1 else {0}
    return 1 + depths.pop() if len(depths) == 1 and 0 not in depths else 0


def _lists(column: "pl.Series") -> "tuple[pl.Series, dict[int, str]]":
    """Texts such as `[0.5, 1]` as lists, all of one depth, and row -> why one is none."""
    import polars as pl

    lists, faults = list[Any](), dict[int, str]()
    for row, text in enumerate(column):
        try:
            lists.append(read_list(text) if text and text.strip() else None)
        except InputError as error:
            lists.append([])
            faults[row] = str(error)
    depths = {row: _depth(value) for row, value in enumerate(lists) if value is not None and row not in faults}
    (usual, _), *_ = Counter(depths.values()).most_common(1) or [(1, 0)]
    for row, depth in depths.items():
        if depth != usual:
            faults[row] = f"{column[row]!r:.40} has lists of depth {depth}, and most rows of {usual}"
            lists[row] = []
    return pl.Series(column.name, lists, strict=False), faults


def _joined(table: "pl.DataFrame", columns: list[str]) -> "tuple[pl.Series, dict[int, str]]":
    """Several columns of numbers as one of lists; null where all are empty."""
    import polars as pl

    numbers = table.select(pl.col(columns).cast(pl.Float64, strict=False))
    is_empty = table.select(pl.all_horizontal(pl.col(columns).is_null())).to_series()
    faults: dict[int, str] = {}
    for name in columns:
        for row in (numbers[name].is_null() & ~is_empty).arg_true():
            cell = table[name][row]
            what = "is empty, and other numbers of the row are not" if cell is None else f"{cell!r} is no number"
            faults.setdefault(row, f"column '{name}': {what}")
    joined = pl.when(~pl.lit(is_empty)).then(pl.concat_list(pl.col(columns).fill_null(0)))
    return numbers.select(joined).to_series(), faults
