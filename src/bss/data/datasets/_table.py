"""A user's table: its file, in one of many forms."""

import csv
import gzip
import io
import json
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence, Set
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from bss.data.datasets._arrays import read_arrays
from bss.data.datasets._hugging_face import is_saved, read_saved
from bss.data.datasets._shards import is_shards, read_shards, shards
from bss.errors import InputError, MissingInput, first_line

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
        InputError: the file cannot be read, or two columns have one name; the message has the line, where there is
            one.
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
            _check_names(path, _keys(content) if suffix in LINES else _header(content, separator))
            table = (
                pl.read_ndjson(io.BytesIO(content), infer_schema_length=None)
                if suffix in LINES
                else pl.read_csv(io.BytesIO(content), infer_schema=False, separator=separator)
            )
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        where = _broken_line(content) if suffix in LINES else _wrong_line(content, separator) if content else ""
        raise InputError(f"{path}{where or f' cannot be read: {first_line(error)}'}") from error
    if not len(table) and suffix not in LINES and (where := _wrong_line(content, separator)):
        raise InputError(f"{path}{where}")  # a quote that opens in the header has swallowed the rows
    if len(table.columns) == 1 and (other := next((mark for mark in ";\t," if mark in table.columns[0]), None)):
        raise InputError(f"{path}: its columns are separated by {other!r}; expected {separator!r}")
    return table


def _first_sheet(path: Path) -> "pl.DataFrame":
    """The first sheet of a workbook, as text.

    Raises:
        InputError: the package that reads it is missing, it is no workbook, or two columns have one name.
    """
    import polars as pl

    try:
        import fastexcel
    except ModuleNotFoundError:
        raise InputError(
            f"{path}: a table of {path.suffix} needs fastexcel: pip install 'bss[excel]', or save it as CSV"
        ) from None
    try:
        names = pl.read_excel(path, infer_schema_length=0, has_header=False, read_options={"n_rows": 1})
        _check_names(path, names.row(0) if len(names) else ())
        return pl.read_excel(path, infer_schema_length=0)
    except (fastexcel.FastExcelError, IndexError) as error:  # the latter where there is no sheet
        raise InputError(f"{path} cannot be read as a workbook: {first_line(error)}") from error


def _text(path: Path) -> bytes:
    """The text of a file, unpacked, with line ends as they are everywhere today.

    Raises:
        InputError: it is no UTF-8, or its packing is damaged.
    """
    content = path.read_bytes()
    if content.startswith(GZIP):
        try:
            content = gzip.decompress(content)
        except EOFError as error:
            raise InputError(f"{path} ends early: fetch it again") from error
        except (zlib.error, gzip.BadGzipFile) as error:
            raise InputError(f"{path} is damaged: {first_line(error)}; fetch it again") from error
    try:
        content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise InputError(
            f"{path}, line {line}: the byte {content[error.start]:#04x} is not UTF-8; save the file as UTF-8"
        ) from None
    return content if b"\n" in content else content.replace(b"\r", b"\n")


def _check_names(path: Path, names: Iterable[str | None]) -> None:
    """Refuse columns of which one name means two: readers keep one, or rename one, without a word.

    Raises:
        InputError: the message has the name; columns without any are no fault.
    """
    (name, number), *_ = [*Counter(filter(None, names)).most_common(1), ("", 0)]
    if number > 1:
        raise InputError(f"{path}: {number} columns are called '{name}'; each needs a name of its own")


def _keys(content: bytes) -> list[str]:
    """The keys of the first line of JSON, each as often as it is there; none where that is no object."""
    objects: list[list[str]] = []
    first = next((line for line in io.BytesIO(content) if line.strip()), b"")
    with suppress(ValueError, RecursionError):
        json.loads(first, object_pairs_hook=lambda pairs: objects.append([key for key, _ in pairs]))
    return objects[-1] if objects else []  # the whole comes after what is in it


def _header(content: bytes, separator: str) -> list[str]:
    """The names in the first line of a CSV file; none where it has no end."""
    with suppress(csv.Error):
        return next(filter(None, csv.reader(_decoded(content), delimiter=separator)), [])
    return []


def _decoded(content: bytes) -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(content), "utf-8-sig", newline="")


def _wrong_line(content: bytes, separator: str) -> str:
    """What is wrong with the first wrong line of a CSV file, as the end of `FILE, line N: ...`."""
    if number := _open_quote(content):
        return f", line {number}: a quote that is not closed; in a quoted text write it twice"
    with suppress(csv.Error):
        lines = csv.reader(_decoded(content), delimiter=separator)
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


def _open_quote(content: bytes) -> int | None:
    """The line, from 1, with the quote that nothing closes."""
    opened = None
    for number, line in enumerate(io.BytesIO(content), 1):
        if line.count(b'"') % 2:
            opened = None if opened else number
    return opened


def _broken_line(content: bytes) -> str:
    """The first line that is no object of JSON, as the end of `FILE, line N: ...`."""
    for number, line in enumerate(io.BytesIO(content), 1):
        try:
            if line.strip() and not isinstance(json.loads(line), dict):
                return f", line {number}: no object of JSON"
        except (ValueError, RecursionError) as error:
            reason = (
                f"{error.msg}, column {error.colno}" if isinstance(error, json.JSONDecodeError) else first_line(error)
            )
            return f", line {number}: no object of JSON ({reason})"
    return ""
