"""Tables that are damaged or say a thing twice, and cells of lists: each is refused with the line, row or name."""

import gzip
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from bss.data.datasets._cells import matching
from bss.data.datasets._table import read_table
from bss.data.packing.pack import examine
from bss.errors import InputError
from tests.data.test_door import NUM_ROWS, dataset, packed, rows, workbook

TEXT = "label,a\n" + "".join(f"x{number * number % 977},{number}\n" for number in range(500))
PACKED = gzip.compress(TEXT.encode(), mtime=0)
MIDDLE = len(PACKED) // 2
OPEN = "a quote that is not closed"
NO_OBJECT = "no object of JSON"


def spoilt(content: bytes, place: int) -> bytes:
    """The content with other bytes from a place on."""
    return content[:place] + bytes(byte ^ 0xFF for byte in content[place : place + 4]) + content[place + 4 :]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv.gz", spoilt(PACKED, MIDDLE), r" is damaged: .*; fetch it again"),
        ("t.csv.gz", spoilt(PACKED, len(PACKED) - 8), r"is damaged: CRC check failed.*; fetch it again"),
        ("t.csv.gz", PACKED[:MIDDLE], "ends early: fetch it again"),
        ("t.csv", b'label,a\nx,1\n"y,2\nz,3\n', f"line 3: {OPEN}"),
        ("t.csv", b'label,a\nx,1\ny,"2\nz,3\n', f"line 3: {OPEN}"),
        ("t.csv", b'label,a\nx,1\ny,2\nz,"3', f"line 4: {OPEN}"),
        ("t.csv", b'label,a\n"x\nx",1\ny 5" k,2\n"z",3\n', f"line 4: {OPEN}"),
        ("t.tsv", b'label\ta\nx\t1\n"y\t2\n', f"line 3: {OPEN}"),
        ("t.csv", b'"label,a\n' + b"x,1\n" * 40_000, f"line 1: {OPEN}"),
        ("t.csv", b'label,"a\nx,1\ny,2\n', f"line 1: {OPEN}"),
        (
            "t.jsonl",
            b'{"label": "x", "a": 1}\n\n{"label": "y", a}\n',
            rf"line 3: {NO_OBJECT} \(Expecting .*column 16",
        ),
        ("t.jsonl", b'{"label": "x", "a": 1}\n{"label": "y", "a"', rf"line 2: {NO_OBJECT} \(Expecting"),
        ("t.ndjson", b'{"label": "x", "a": 1}\n[1]\n', rf"line 2: {NO_OBJECT}$"),
        ("t.jsonl", b'{"label": "x"}\n' + b"[" * 100_000, rf"line 2: {NO_OBJECT} \(maximum recursion"),
    ],
)
def test_a_damaged_table_is_named_with_its_line(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=rf"/{name}.*{message}"):
        read_table(tmp_path / name)


@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.csv.gz", "t.jsonl", "t.xlsx", "t.parquet"])
def test_two_columns_of_one_name_are_refused(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    names, cells = ["label", "a", "label"], [["x", "1", "y"], ["z", "2", "w"]]
    if name == "t.xlsx":
        pytest.importorskip("fastexcel")
        workbook(path, [list[str | float](line) for line in [names, *cells]])
    elif name == "t.parquet":
        arrow = pytest.importorskip("pyarrow")
        columns = arrow.table([arrow.array(["x", "z"])] * 3, names=names)
        pytest.importorskip("pyarrow.parquet").write_table(columns, path)
    elif name == "t.jsonl":
        path.write_text('{"label": "x", "a": {"b": 1}, "label": "y"}\n')
    else:
        separator = "\t" if name == "t.tsv" else ","
        content = "\n".join(separator.join(line) for line in [names, *cells]).encode()
        path.write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    message = "'label' has more than one occurrence" if name == "t.parquet" else "2 columns are called 'label'"
    with pytest.raises(InputError, match=rf"{name}.*{message}"):
        read_table(path)


@pytest.mark.parametrize("content", ["label,a,,\nx,1,,\n", '{"label": {"a": 1}, "a": {"a": 2}}\n'])
def test_columns_without_a_name_and_keys_within_a_cell_are_no_such_fault(content: str, tmp_path: Path) -> None:
    path = tmp_path / ("t.jsonl" if content.startswith("{") else "t.csv")
    path.write_text(content)
    assert len(read_table(path)) == 1


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("[" + "9" * 5000 + ", 1]", "row 4 .*body: number 0 is inf, which is not finite"),
        ("[" * 100_000 + "]" * 100_000, "row 4 .*is no list of numbers: maximum recursion"),
        ("[" * 30 + "]" * 30, "row 4 .*is no list of numbers, nor of lists of them"),
        ("[1, x]", "row 4 .*is no list of numbers: Expecting value"),
        ('[1, "a"]', "row 4 .*is no list of numbers, nor of lists of them"),
        ("[1, [2]]", "row 4 .*is no list of numbers, nor of lists of them"),
        ("[true, 2]", "row 4 .*is no list of numbers, nor of lists of them"),
        ("[[1, 2]]", "row 4 .*has lists of depth 2, and most rows of 1"),
        ("[1, null]", "row 4 .*body: number 1 is missing"),
        ("[]", r"row 4 .*body: 2 numbers are needed, got the shape \(0,\)"),
    ],
)
def test_a_cell_that_is_no_list_of_numbers_spoils_its_row_alone(cell: str, message: str, tmp_path: Path) -> None:
    cells = [f"[{row}, 0.5]" for row in range(NUM_ROWS)]
    cells[3] = cell
    pl.DataFrame(rows(body=cells)).write_csv(tmp_path / "t.csv")
    findings, _ = examine(dataset(tmp_path / "t.csv", columns={}), tmp_path / "packed")
    assert len(findings) == 1
    with pytest.raises(InputError, match=message):
        packed(tmp_path, rows(body=cells), columns={})


@pytest.mark.parametrize(
    ("names", "kept"),
    [
        (["index", "index_of_table"], ["index_of_table_of_table", "index_of_table"]),
        (["index_of_table", "index"], ["index_of_table", "index_of_table_of_table"]),
        (["text_a", "text_a_of_table"], ["text_a_of_table", "text_a_of_table_of_table"]),
        (["text_a_of_table", "text_a"], ["text_a_of_table_of_table", "text_a_of_table"]),
    ],
)
def test_further_columns_keep_names_apart(names: list[str], kept: list[str], tmp_path: Path) -> None:
    further: dict[str, list[Any]] = {name: [name] * NUM_ROWS for name in names}
    table = packed(tmp_path, rows(**further))
    for name, own in zip(kept, names, strict=True):
        assert table[name].unique().to_list() == [own]


@pytest.mark.parametrize(("pattern", "right"), [("a3..a0", r"a0\.\.a3"), ("a010..a002", r"a002\.\.a010")])
def test_a_range_of_columns_that_runs_backwards_is_refused(pattern: str, right: str) -> None:
    with pytest.raises(InputError, match=rf"columns: '{pattern}' runs backwards; '{right}' is from low to high"):
        matching(pattern, ["a0", "a1"], ["a0", "a1"])
