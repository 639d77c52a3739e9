"""A user's table: its file, and the values of a modality in its columns."""

import csv
import gzip
import io
import json
import os
import re
from collections.abc import Callable, Sequence, Set
from contextlib import suppress
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bss.data.datasets._arrays import read_arrays
from bss.data.datasets._hugging_face import is_saved, read_saved
from bss.data.datasets._shards import is_shards, read_shards, shards
from bss.data.kinds.kind import Kind
from bss.errors import InputError, MissingInput

if TYPE_CHECKING:
    import polars as pl

GZIP = b"\x1f\x8b"
ARRAYS, COLUMNS, LINES, SHEETS = {".npz"}, {".parquet", ".pq"}, {".jsonl", ".ndjson"}, {".xlsx", ".xls", ".ods"}


def absence(path: Path) -> str | None:
    """Why a table cannot be opened: there is none; None where it is there."""
    if is_shards(path):
        try:
            shards(path)
        except MissingInput as error:
            return str(error)
        return None
    if path.is_dir():
        is_table = "give the table in it, or a folder that `save_to_disk` of Hugging Face has written"
        return None if is_saved(path) else f"{path}: a folder; {is_table}"
    return None if path.is_file() else f"{path}: no such file"


def read_table(path: Path, parts: Sequence[str] = (), splits: Set[str] = frozenset()) -> "pl.DataFrame":
    """The columns of a table; an empty cell is null.

    A folder is a data set of Hugging Face, `.tar` files or a pattern of them are shards of WebDataset, the arrays of
    `.npz` are columns.
    Of Parquet and of lines of JSON (`.jsonl`, `.ndjson`) as they are, of CSV and TSV as text, packed by gzip or not;
    of Excel and OpenDocument (`.xlsx`, `.xls`, `.ods`) the first sheet, as text.

    Args:
        path: of the table.
        parts: of a data set of Hugging Face, those that are read.
        splits: what the splits may be called, where the names of shards say it.

    Raises:
        InputError: the file cannot be read; the message has the line, where there is one.
    """
    if parts and not path.is_dir():
        raise InputError(f"{path} has no parts {list(parts)}: only a data set of Hugging Face has some")
    table = _opened(path, parts, splits)
    if not len(table):
        raise InputError(f"{path} has no row")
    return table


def _opened(path: Path, parts: Sequence[str], splits: Set[str]) -> "pl.DataFrame":
    import polars as pl

    if path.is_dir():
        return read_saved(path, parts)
    if is_shards(path):
        return read_shards(path, splits)
    *_, suffix = [part for part in path.suffixes if part.lower() != ".gz"] or [""]
    suffix, separator = suffix.lower(), "\t" if suffix.lower() == ".tsv" else ","
    content = b""
    try:
        if suffix in SHEETS:
            table = _first_sheet(path)
        elif suffix in ARRAYS:
            table = read_arrays(path)
        elif suffix in COLUMNS:
            table = pl.read_parquet(path)
        else:
            content = _text(path)
            table = (
                pl.read_ndjson(io.BytesIO(content), infer_schema_length=None)
                if suffix in LINES
                else pl.read_csv(io.BytesIO(content), infer_schema=False, separator=separator)
            )
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error
    except pl.exceptions.PolarsError as error:
        reason = f" cannot be read: {str(error).splitlines()[0]}"
        where = "" if suffix in COLUMNS | LINES else _line(content, separator)
        raise InputError(f"{path}{where or reason}") from error
    if len(table.columns) == 1 and (other := next((mark for mark in ";\t," if mark in table.columns[0]), None)):
        raise InputError(f"{path}: its columns are separated by {other!r}; expected {separator!r}")
    return table


def _first_sheet(path: Path) -> "pl.DataFrame":
    """The first sheet of a workbook, as text.

    Raises:
        InputError: the package that reads it is missing, or it is no workbook.
    """
    import polars as pl

    try:
        import fastexcel
    except ModuleNotFoundError:
        raise InputError(
            f"{path}: a table of {path.suffix} needs fastexcel: pip install 'bss[excel]', or save it as CSV"
        ) from None
    try:
        return pl.read_excel(path, infer_schema_length=0)
    except fastexcel.FastExcelError as error:
        raise InputError(f"{path} cannot be read as a workbook: {str(error).splitlines()[0]}") from error


def _text(path: Path) -> bytes:
    """The text of a file, unpacked, with line ends as they are everywhere today.

    Raises:
        InputError: it is no UTF-8.
    """
    content = path.read_bytes()
    if content.startswith(GZIP):
        try:
            content = gzip.decompress(content)
        except EOFError as error:
            raise InputError(f"{path} ends early: fetch it again") from error
    try:
        content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise InputError(
            f"{path}, line {line}: the byte {content[error.start]:#04x} is not UTF-8; save the file as UTF-8"
        ) from None
    return content if b"\n" in content else content.replace(b"\r", b"\n")


def _line(content: bytes, separator: str) -> str:
    """The first line of a CSV file with more cells than columns, as the end of `FILE, line N: ...`."""
    with suppress(csv.Error):
        lines = csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""), delimiter=separator)
        columns = next(lines, [])
        if columns and columns[0].startswith("#"):
            return ", line 1: a comment, where the names of the columns belong; remove it"
        for cells in lines:
            if len(cells) > len(columns):
                return (
                    f", line {lines.line_num}: {len(cells)} cells, but {len(columns)} columns; quote a text that "
                    f"has '{separator}' in it"
                )
    return ""


def matching(pattern: str | list[str], free: list[str], columns: list[str]) -> str | list[str]:
    """The columns that a pattern stands for; a name, or a list without a pattern, as it is.

    Args:
        pattern: a name, `a0..a127`, `a*`, or a list of such.
        free: columns that an asterisk may stand for.
        columns: all of the table; a column whose name has an asterisk or two dots is meant itself.

    Raises:
        InputError: an asterisk stands for no column.
    """
    if isinstance(pattern, list):
        found = [matching(part, free, columns) for part in pattern]
        return [name for part in found for name in ([part] if isinstance(part, str) else part)]
    if pattern in columns:
        return pattern
    if span := re.fullmatch(r"(.*?)(\d+)\.\.\1(\d+)", pattern):
        stem, first, last = span.groups()
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
    if kind.by_number and kind.shape == (1,) and _mostly(column, _is_number):
        return _joined(column.to_frame(), [column.name])
    slashes = column.str.replace_all("\\", os.sep, literal=True)
    return pl.select(pl.when(slashes.str.strip_chars() != "").then(slashes)).to_series(), {}


def _lists(column: "pl.Series") -> "tuple[pl.Series, dict[int, str]]":
    """Texts such as `[0.5, 1]` as lists, and row -> why one is none."""
    import polars as pl

    lists, faults = list[Any](), dict[int, str]()
    for row, text in enumerate(column):
        is_empty = text is None or not text.strip()
        try:
            found = None if is_empty else json.loads(text)
            reason = "" if is_empty or _holds_numbers(found) else "something else is in it"
        except json.JSONDecodeError as error:
            found, reason = [], error.msg
        if reason:
            faults[row] = f"{text!r:.40} is no list of numbers: {reason}"
        lists.append([] if reason else found)
    return pl.Series(column.name, lists, strict=False), faults


def _holds_numbers(value: Any) -> bool:
    """Whether it is a list of numbers, or of such lists; null may stand for one."""
    return isinstance(value, list) and all(
        each is None or (isinstance(each, int | float) and not isinstance(each, bool)) or _holds_numbers(each)
        for each in value
    )


def _mostly(column: "pl.Series", holds: Callable[[str], bool]) -> bool:
    """Whether more than half of the cells in which something is written are so."""
    cells = [cell.strip() for cell in column.drop_nulls() if cell.strip()]
    return 2 * sum(map(holds, cells)) > len(cells)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


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
