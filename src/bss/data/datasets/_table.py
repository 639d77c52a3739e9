"""A user's table: its file, in one of many forms."""

import csv
import gzip
import io
from collections.abc import Sequence, Set
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from bss.data.datasets._arrays import read_arrays
from bss.data.datasets._hugging_face import is_saved, read_saved
from bss.data.datasets._shards import is_shards, read_shards, shards
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
