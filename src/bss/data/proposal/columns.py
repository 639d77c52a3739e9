"""What each column of a table seems to be."""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bss.data.datasets._cells import matching, read_list
from bss.data.packing.blocks import raw_values
from bss.data.proposal.column import Column, is_number, is_whole
from bss.data.proposal.files import NUM_READ, Seen, look, texts
from bss.data.proposal.roles import classes_of, group_of, id_of, label_of, split_of, unsuited
from bss.errors import InputError
from bss.registry import UnknownName
from bss.wording import counted

if TYPE_CHECKING:
    import polars as pl

MIN_WORDS = 3
"""Words that texts have on average; of fewer a column is of names."""
WHOLE = "whole numbers, which may be codes"
"""Why a column is in no modality though it has numbers."""
MIN_NUMBERED = 3
"""Columns `a0`, `a1`, ... that are taken for one modality."""
ENDING = re.compile(r"\.(wav|flac|mp3|ogg|m4a|png|jpe?g|bmp|gif|webp|tiff?|mp4|avi|mkv|mov|webm|npy|mat)$", re.I)


def read_columns(table: "pl.DataFrame", root: Path, origin: str, label: str | None) -> list[Column]:
    """What each column seems to be, in the order of the table.

    Args:
        table: all of it.
        root: what paths start from.
        origin: what messages call the table.
        label: the column of the labels, if it is known.

    Raises:
        InputError: several columns may be the label, or none; or a column has paths, and no file is there.
    """
    split = split_of(table)
    media = {name: found for name in table.columns if (found := _media(table[name], root, origin)) is not None}
    roles: dict[str, Column] = {} if split is None else {split.columns[0]: split}
    if label is not None:
        if label not in table.columns:
            raise UnknownName("column", label, table.columns)
        roles[label] = Column([label], "label", f"--label; {classes_of(table[label])}")
    rest = [name for name in table.columns if name not in roles and name not in media]
    numbers = _numbered([name for name in rest if is_number(table[name])])
    rest = [name for name in rest if all(name not in found.columns for found in numbers)]
    roles |= {found.columns[0]: found for found in (id_of(table, rest), group_of(table, rest, split)) if found}
    if label is None:
        found = label_of(table, [name for name in rest if name not in roles], origin)
        roles[found.columns[0]] = found
    rest = [name for name in rest if name not in roles]
    fractions = [name for name in rest if is_number(table[name]) and not is_whole(table[name])]
    if fractions:
        why = f"{counted(len(fractions), 'column')} of numbers"
        numbers.append(Column(fractions, "features", why, {"name": "features", "size": len(fractions)}, fractions))
    of_several = {found.columns[0]: found for found in numbers}
    inner = {name for found in numbers for name in found.columns[1:]}
    roles = unsuited({column.what for column in roles.values()}, rest) | roles
    return [
        roles.get(name) or media.get(name) or of_several.get(name) or Column([name], "-", _kept(table[name]))
        for name in table.columns
        if name not in inner
    ]


def _media(column: "pl.Series", root: Path, origin: str) -> Column | None:
    """A column whose cells are files, lists, arrays or texts; None where it is none of these."""
    import polars as pl

    there = column.drop_nulls()
    if there.dtype == pl.String:
        there = there.filter(there.str.strip_chars() != "")
    first = there.head(NUM_READ)
    if not len(first):
        return None
    if first.dtype == pl.String:
        found = _of_strings(there, root, origin)
    elif first.dtype == pl.Binary:
        found = look([{"bytes": value} for value in first])
    elif isinstance(first.dtype, pl.Struct | pl.List | pl.Array):
        found = look(raw_values(first, root, paths=True))
    else:
        return None
    if found is None:
        return None
    name = column.name
    what = "-" if found.kind is None else str(found.kind["name"])
    return Column([name], what, found.why, found.kind, name)


def _of_strings(column: "pl.Series", root: Path, origin: str) -> Seen | None:
    values = [str(value) for value in column.head(NUM_READ)]
    paths = [root / value.replace("\\", os.sep) for value in values]
    there = [path for path in paths if _is_there(path)]
    is_repeated = 2 * column.n_unique() <= len(column)
    if is_repeated and all(path.is_dir() for path in there):
        there = []  # names of classes, each of which has a folder of files
    if 2 * len(there) > len(paths):
        return look(there)
    if all(ENDING.search(value) for value in values):
        raise InputError(
            f"{origin}: '{values[0]}' of the column '{column.name}' is no file in {root}; say with --root which "
            "folder paths start from"
        )
    if all(value.lstrip().startswith("[") for value in values):
        try:
            return look([read_list(value) for value in values])
        except InputError:
            return Seen(None, "lists that cannot be read")
    words = sum(len(value.split()) for value in values)
    return texts(values) if words >= MIN_WORDS * len(values) else None


def _is_there(path: Path) -> bool:
    try:
        return path.is_file() or path.is_dir()
    except (OSError, ValueError):  # a text that is too long for a path, or has a zero byte
        return False


def _numbered(names: Sequence[str]) -> list[Column]:
    """Columns such as `a0`, `a1`, ..., `a127` as one modality each."""
    series: dict[str, list[str]] = {}
    for name in names:
        if match := re.fullmatch(r"(.*?)(\d+)", name):
            series.setdefault(match[1], []).append(name)
    found = []
    for columns in series.values():
        pattern = f"{columns[0]}..{columns[-1]}"
        if len(columns) >= MIN_NUMBERED and matching(pattern, [], []) == columns:
            kind = {"name": "features", "size": len(columns)}
            found.append(Column(columns, "features", f"{len(columns)} columns of numbers", kind, pattern))
    return found


def _kept(column: "pl.Series") -> str:
    if is_number(column) and is_whole(column):
        return f"{WHOLE}; kept beside the pairs"
    return f"kept beside the pairs; {counted(column.n_unique(), 'value')}"
