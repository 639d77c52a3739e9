"""A user's table at the door: what is read, and what is refused with row, value and what would be right."""

import gzip
import io
import os
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import polars as pl
import pytest

from bss.data.datasets._labels import as_read
from bss.data.datasets.manifest import Manifest
from bss.data.packed import open_split
from bss.data.packing.pack import examine, pack
from bss.errors import InputError

NUM_ROWS = 60
KINDS = {"body": {"name": "features", "size": 2}, "text": {"name": "text", "length": 3}}


def rows(**other: Any) -> dict[str, list[Any]]:
    """Sixty rows of two classes; what is named takes the place of a column."""
    generator = np.random.default_rng(0)
    columns = {
        "label": ["no", "yes"] * (NUM_ROWS // 2),
        "a": [f"{number:.3f}" for number in generator.normal(size=NUM_ROWS)],
        "b": [f"{number:.3f}" for number in generator.normal(size=NUM_ROWS)],
        "text": [f"word{place % 7} and" for place in range(NUM_ROWS)],
    }
    return columns | other


def changed(column: str, row: int, value: Any) -> dict[str, list[Any]]:
    """The rows with another value in a row, from 1."""
    columns = rows()
    columns[column][row - 1] = value
    return columns


def dataset(file: Path, **options: Any) -> Manifest:
    options = {"columns": {"body": ["a", "b"]}, "kinds": KINDS} | options
    return Manifest.model_validate({"file": str(file), **options})


def packed(folder: Path, table: dict[str, list[Any]], **options: Any) -> pl.DataFrame:
    """The manifests of all splits, packed from a CSV file."""
    pl.DataFrame(table).write_csv(folder / "t.csv")
    pack(dataset(folder / "t.csv", **options), folder / "packed")
    return _all(folder)


def _all(folder: Path) -> pl.DataFrame:
    parts = (folder / "packed" / split / "manifest.parquet" for split in ("train", "validation", "test"))
    return pl.concat(map(pl.read_parquet, parts))


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (changed("label", 5, ""), "row 5 .*, label: no label"),
        (changed("label", 5, " NaN "), "row 5 .*, label: no label"),
        (changed("a", 4, "abc"), "row 4 .*column 'a': 'abc' is no number"),
        (changed("b", 4, None), "row 4 .*column 'b': is empty, and other numbers of the row are not"),
    ],
)
def test_a_row_that_cannot_be_used_is_named_or_skipped(
    columns: dict[str, list[Any]], message: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=message):
        packed(tmp_path, columns)
    assert len(packed(tmp_path, columns, on_bad="skip")) == NUM_ROWS - 1


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (changed("label", 6, "Yes"), "spelled in several ways: 'yes' in row 2, 'Yes' in row 6"),
        (changed("label", 6, "yes "), "spelled in several ways"),
        (rows(label=["1", "2", "01"] * 20), "spelled in several ways: '1' in row 1, '01' in row 3"),
        (rows(label=["1", "2", "1.0"] * 20), "spelled in several ways"),
        (rows(label=["caf\u00e9", "cafe\u0301"] * 30), "spelled in several ways"),
        (rows(label=["yes"] * NUM_ROWS), "two classes or more are needed"),
        (
            rows(label=[f"{place / 7:.4f}" for place in range(1, NUM_ROWS + 1)]),
            "trains classifiers: cut it into classes",
        ),
        (changed("label", 6, "no;yes"), "'no;yes' .* is several: .* bss gives each row one class"),
        (rows(split=["0", "1", "2"] * 20), "split '0' .*such as folds"),
    ],
)
def test_labels_and_splits_that_mean_something_else_are_refused(
    columns: dict[str, list[Any]], message: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=message):
        packed(tmp_path, columns)


@pytest.mark.parametrize(("first", "second"), [("a b", "A  b"), ("1", "1.00"), ("\uff11", "1"), ("x_y", "X_Y")])
def test_labels_that_a_person_reads_as_one(first: str, second: str) -> None:
    assert as_read(first) == as_read(second)


@pytest.mark.parametrize(("first", "second"), [("1", "-1"), ("1_0", "10"), ("a", "b"), ("1e3x", "1000")])
def test_labels_that_a_person_tells_apart(first: str, second: str) -> None:
    assert as_read(first) != as_read(second)


def test_a_group_that_is_empty_is_a_row_by_itself(tmp_path: Path) -> None:
    groups = [f"g{place // 3}" if place % 5 else None for place in range(NUM_ROWS)]
    table = packed(tmp_path, rows(group=groups))
    assert len(table) == NUM_ROWS


def test_a_column_whose_name_is_ours_is_kept_under_another(tmp_path: Path) -> None:
    more = {
        "index": ["i"] * NUM_ROWS,
        "class": ["c"] * NUM_ROWS,
        "text_present": ["p"] * NUM_ROWS,
        "who": ["w"] * NUM_ROWS,
    }
    table = packed(tmp_path, rows(**more))
    assert {"index_of_table", "class_of_table", "text_present_of_table", "who"} <= set(table.columns)
    assert table["class_of_table"].unique().to_list() == ["c"]
    assert table["class"].unique().sort().to_list() == ["no", "yes"]


def test_the_label_is_no_modality(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="text and the label are the same column 'label'"):
        packed(tmp_path, rows(), columns={"body": ["a", "b"], "text": "label"})


@pytest.mark.parametrize("form", ["t.csv.gz", "t.tsv", "t.jsonl", "t.ndjson.gz", "t.parquet", "old mac.csv"])
def test_a_table_is_read_in_every_usual_form(form: str, tmp_path: Path) -> None:
    table, path = pl.DataFrame(rows()), tmp_path / form
    if form.endswith(".parquet"):
        table.write_parquet(path)
    elif "json" in form:
        content = table.write_ndjson().encode()
        path.write_bytes(gzip.compress(content) if form.endswith("gz") else content)
    else:
        content = table.write_csv(separator="\t" if "tsv" in form else ",").encode()
        content = content.replace(b"\n", b"\r") if "mac" in form else content
        path.write_bytes(gzip.compress(content) if form.endswith("gz") else content)
    pack(dataset(path), tmp_path / "packed")
    assert len(_all(tmp_path)) == NUM_ROWS


def workbook(path: Path, rows: list[list[str | float]]) -> None:
    """The least that Excel opens: one sheet of numbers and texts."""
    text, number = '<c t="inlineStr"><is><t>{}</t></is></c>', "<c><v>{}</v></c>"
    written = ["".join((text if isinstance(cell, str) else number).format(cell) for cell in row) for row in rows]
    cells = "".join(f"<row>{row}</row>" for row in written)
    main, office = "http://schemas.openxmlformats.org/spreadsheetml/2006/main", "http://schemas.openxmlformats.org"
    related = f"{office}/officeDocument/2006/relationships"
    package = f"{office}/package/2006"
    kind = "application/vnd.openxmlformats-officedocument.spreadsheetml"
    parts = {
        "[Content_Types].xml": f'<Types xmlns="{package}/content-types">'
        '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        f'<Override PartName="/xl/workbook.xml" ContentType="{kind}.sheet.main+xml"/>'
        f'<Override PartName="/xl/worksheets/sheet1.xml" ContentType="{kind}.worksheet+xml"/></Types>',
        "_rels/.rels": f'<Relationships xmlns="{package}/relationships">'
        f'<Relationship Id="r1" Type="{related}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook xmlns="{main}" xmlns:r="{related}">'
        '<sheets><sheet name="pairs" sheetId="1" r:id="r1"/></sheets></workbook>',
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{package}/relationships">'
        f'<Relationship Id="r1" Type="{related}/worksheet" Target="worksheets/sheet1.xml"/></Relationships>',
        "xl/worksheets/sheet1.xml": f'<worksheet xmlns="{main}"><sheetData>{cells}</sheetData></worksheet>',
    }
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)


def test_a_workbook_is_read_as_the_same_table_in_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[list[str | float]] = [["label", "a", "b", "text"]]
    rows += [[f"class {row % 2}", row / 4, 1.5, f"word{row % 3}"] for row in range(40)]
    workbook(tmp_path / "t.xlsx", rows)
    (tmp_path / "t.csv").write_text("\n".join(",".join(map(str, row)) for row in rows))
    sheet, text = (dataset(tmp_path / name).items(tmp_path) for name in ("t.xlsx", "t.csv"))
    assert sheet.equals(text)
    monkeypatch.setitem(sys.modules, "fastexcel", None)
    with pytest.raises(InputError, match=r"needs fastexcel: pip install 'bss\[excel\]'"):
        dataset(tmp_path / "t.xlsx").items(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.xlsx", b"PK", r"cannot be read as a workbook"),
        ("t.csv.gz", gzip.compress(b"label,a,b,text\n" * 99, mtime=0)[:40], "ends early"),
        ("t.csv", b"# by hand\nlabel,a,b,text\nx,1,2,y\n", "line 1: a comment, where the names"),
    ],
)
def test_a_table_that_is_none_says_what_to_do(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message):
        pack(dataset(tmp_path / name), tmp_path / "packed")


def test_a_folder_is_no_table(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a folder; give the table in it"):
        pack(dataset(tmp_path), tmp_path / "packed")


def test_numbers_may_stand_as_a_list_in_a_cell_or_alone(tmp_path: Path) -> None:
    columns = rows(body=[f"[{place}, 0.5]" for place in range(NUM_ROWS)])
    packed(tmp_path, columns, columns={})
    assert open_split(tmp_path / "packed", "train").arrays["body"][:, 1].tolist() == [0.5] * 42
    columns["body"][3] = "[1, x]"
    with pytest.raises(InputError, match=r"row 4 .*'\[1, x\]' is no list of numbers"):
        packed(tmp_path, columns, columns={})
    pl.DataFrame(rows(body=[float(place) for place in range(NUM_ROWS)])).write_parquet(tmp_path / "t.parquet")
    kinds = KINDS | {"body": {"name": "features", "size": 1}}
    pack(dataset(tmp_path / "t.parquet", columns={}, kinds=kinds), tmp_path / "alone")
    assert open_split(tmp_path / "alone", "train").arrays["body"].shape == (42, 1)


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ('["a", 1]', "is no list of numbers, nor of lists of them"),
        ("[true, 2]", "is no list of numbers, nor of lists of them"),
        ("7", "is no list of numbers, nor of lists of them"),
        ("[[1], {}]", "is no list of numbers, nor of lists of them"),
        ("  ", "body: no value; preprocess.missing: mask allows that"),
    ],
)
def test_one_bad_cell_of_lists_is_one_finding(cell: str, message: str, tmp_path: Path) -> None:
    columns = rows(body=[f"[{place}, 0.5]" for place in range(NUM_ROWS)])
    columns["body"][3] = cell
    pl.DataFrame(columns).write_csv(tmp_path / "t.csv")
    [finding] = examine(dataset(tmp_path / "t.csv", columns={}), tmp_path / "packed").findings
    assert finding.row == 4
    assert message in str(finding)


def test_a_column_of_single_numbers_in_a_table_of_text_is_read(tmp_path: Path) -> None:
    columns, kinds = rows(), KINDS | {"body": {"name": "features", "size": 1}}
    columns["a"][3] = "x"
    pl.DataFrame(columns).write_csv(tmp_path / "t.csv")
    given = dataset(tmp_path / "t.csv", columns={"body": "a"}, kinds=kinds, on_bad="skip")
    [finding] = examine(given, tmp_path / "packed").findings
    assert "row 4" in str(finding) and "'x' is no number" in str(finding)
    pack(given, tmp_path / "packed")
    assert open_split(tmp_path / "packed", "train").arrays["body"].shape[1:] == (1,)


@pytest.mark.parametrize(
    ("role", "values", "message"),
    [
        (
            "label",
            [["a", "b"], ["a"]],
            "the label is in the column 'label', whose cells are no single values .*one class",
        ),
        ("id", [[1], [2]], "the id is in the column 'id', whose cells are no single values"),
        ("group", [{"a": 1}, {"a": 2}], "the group is in the column 'group'"),
    ],
)
def test_cells_of_several_values_are_no_label(role: str, values: list[Any], message: str, tmp_path: Path) -> None:
    table = pl.DataFrame(rows(**{role: values * (NUM_ROWS // 2)}))
    table.write_ndjson(tmp_path / "t.jsonl")
    with pytest.raises(InputError, match=message):
        dataset(tmp_path / "t.jsonl").items(tmp_path)


def test_columns_of_the_table_that_have_the_name_of_a_role_are_kept(tmp_path: Path) -> None:
    columns = rows(emotion=["sad", "glad"] * (NUM_ROWS // 2), caption=["a b"] * NUM_ROWS)
    options = {"columns": {"body": ["a", "b"], "label": "emotion", "text": "caption"}}
    manifest = packed(tmp_path, columns, **options)
    assert sorted(manifest["label_of_table"].unique()) == ["no", "yes"]
    assert manifest["text_of_table"][0].startswith("word")


def test_long_numbers_are_labels_of_their_own() -> None:
    assert as_read("12345678901234567890") != as_read("12345678901234567891")
    assert as_read("12345678901234567890") == as_read(" 12345678901234567890")
    assert as_read("1") == as_read("01") == as_read("1.0")


def texts(folder: Path, name: str) -> dict[str, list[Any]]:
    """The rows, the first of which has its text in a file of that name."""
    for place in range(1, NUM_ROWS):
        (folder / f"{place}.txt").write_text(f"text {place}")
    return rows(text=[name, *(f"{place}.txt" for place in range(1, NUM_ROWS))])


FILES = {"kinds": KINDS | {"text": {"name": "text", "length": 3, "from_files": True}}}


@pytest.mark.parametrize("name", [" lead.txt", "trail.txt ", "absolute"])
def test_a_path_is_taken_as_it_stands(name: str, tmp_path: Path) -> None:
    path = tmp_path / ("a.txt" if name == "absolute" else name)
    path.write_text("here")
    assert len(packed(tmp_path, texts(tmp_path, str(path) if name == "absolute" else name), **FILES)) == NUM_ROWS


def test_what_is_no_file_is_a_finding(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match=r"row 1 .*pipe: is no regular file"):
        packed(tmp_path, texts(tmp_path, "pipe"), **FILES)
    with pytest.raises(InputError, match="row 1 .*: a name with a zero byte in it is no file's"):
        packed(tmp_path, texts(tmp_path, "a\0b.txt"), **FILES)
    with pytest.raises(InputError, match="row 1 .*: leads out of"):
        packed(tmp_path, texts(tmp_path, "/etc/hostname"), **FILES)


def test_pictures_in_the_cells_of_a_parquet_file_are_read(tmp_path: Path) -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (NUM_ROWS, 8, 8, 3), dtype=np.uint8)
    cells = []
    for picture in pictures:
        file = io.BytesIO()
        PIL.Image.fromarray(picture).save(file, "PNG")
        cells.append({"bytes": file.getvalue(), "path": "a.png"})
    pl.DataFrame(rows(picture=cells)).write_parquet(tmp_path / "t.parquet")
    kinds = {"picture": {"name": "image", "size": 8}, "text": KINDS["text"]}
    pack(dataset(tmp_path / "t.parquet", columns={}, kinds=kinds), tmp_path / "packed")
    manifest, split = _all(tmp_path), open_split(tmp_path / "packed", "train")
    first = int(manifest["id"][0].removeprefix("row ")) - 1
    assert np.array_equal(split.arrays["picture"][0], pictures[first].transpose(2, 0, 1))
    cells[3] = {"bytes": b"no picture", "path": "a.png"}
    pl.DataFrame(rows(picture=cells)).write_parquet(tmp_path / "t.parquet")
    with pytest.raises(InputError, match="row 4 .*the content of the cell is no readable image"):
        pack(dataset(tmp_path / "t.parquet", columns={}, kinds=kinds), tmp_path / "packed")


def test_the_same_values_in_two_splits_are_found_as_the_same_file_is(tmp_path: Path) -> None:
    split = ["train"] * 40 + ["validation"] * 10 + ["test"] * 10
    columns = rows(split=split)
    for name in ("a", "b", "text"):
        columns[name][50] = columns[name][2]
    with pytest.raises(InputError, match="row 3 .*, body, text: the same values as row 51, in train and in test"):
        packed(tmp_path, columns)
    assert len(packed(tmp_path, columns, on_bad="skip")) == NUM_ROWS - 1
    assert len(packed(tmp_path, columns, allow=["same_content"])) == NUM_ROWS
    columns["text"][50] = "other"
    assert len(packed(tmp_path, columns)) == NUM_ROWS
