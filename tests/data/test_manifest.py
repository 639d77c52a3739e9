"""Any data from a CSV or Parquet file: columns, splits, missing values, and what is refused."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import yaml

from bss.data.datasets._labels import natural_order
from bss.data.datasets._split import draw
from bss.data.datasets.dataset import DATASETS
from bss.data.datasets.digits import Digits
from bss.data.datasets.manifest import Manifest
from bss.data.packed import Meta, open_split
from bss.data.packing.check import BadData
from bss.data.packing.pack import examine, pack
from bss.types import Split
from tests.helpers import ROOT
from tests.helpers.pairs import KINDS, NUM_ROWS, PICTURE, SOUND, make_pairs, manifest, rows, write


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_pairs(tmp_path)


def packed(folder: Path, **fields: Any) -> Path:
    pack(manifest(folder, **fields), folder / "packed")
    return folder / "packed"


def test_rows_become_pairs_in_the_splits_of_the_file(folder: Path) -> None:
    out = packed(folder)
    assert {split: len(open_split(out, split)) for split in Split} == {"train": 28, "validation": 4, "test": 8}
    test = open_split(out, "test")
    assert test.meta.classes == ("happy", "sad")
    assert test.ids == tuple(f"clip {row}" for row in range(8))
    assert test.labels.tolist() == [1, 0] * 4
    kinds = manifest(folder).modalities
    assert (test.arrays["sound"][3] == kinds["sound"].read(folder / "3.wav")).all()
    assert (test.arrays["picture"][3] == kinds["picture"].read(folder / "3.png")).all()
    manifest_table = pl.read_parquet(out / "test/manifest.parquet")
    assert manifest_table["speaker"].to_list() == [f"speaker {row // 4}" for row in range(8)]


def test_columns_may_have_other_names_and_the_files_another_folder(folder: Path) -> None:
    other = folder / "lists"
    other.mkdir()
    rows().rename({"id": "clip", "sound": "wav", "label": "emotion", "split": "part"}).write_csv(other / "pairs.csv")
    columns = {"id": "clip", "sound": "wav", "label": "emotion", "split": "part"}
    there = manifest(folder, file=str(other / "pairs.csv"), root=str(folder), columns=columns)
    pack(there, folder / "there")
    for split in Split:
        first, second = open_split(packed(folder), split), open_split(folder / "there", split)
        assert (first.ids, first.labels.tolist()) == (second.ids, second.labels.tolist())
        assert (first.arrays["sound"] == second.arrays["sound"]).all()


def test_parquet_holds_lists_and_csv_holds_numbers_in_columns(folder: Path) -> None:
    numbers = np.random.default_rng(1).normal(size=(NUM_ROWS, 3))
    columns = {name: numbers[:, place] for place, name in enumerate("xyz")}
    write(folder, rows().with_columns(**columns))
    kinds = {**KINDS, "body": {"name": "features", "size": 3}}
    out = packed(folder, kinds=kinds, columns={"body": ["x", "y", "z"]})
    assert open_split(out, "test").arrays["body"] == pytest.approx(numbers[:8], rel=1e-6)
    rows().with_columns(body=pl.Series(numbers.tolist())).write_parquet(folder / "pairs.parquet")
    pack(manifest(folder, file=str(folder / "pairs.parquet"), kinds=kinds), folder / "other")
    first, second = (open_split(folder / name, "test").arrays["body"] for name in ("packed", "other"))
    assert (first == second).all()


def test_three_modalities_of_words_series_and_pictures(folder: Path) -> None:
    for row in range(NUM_ROWS):
        np.save(folder / f"{row}.npy", np.full((2 + row % 3, 2), row, dtype=np.float32))
    words = [f"word{row % 5} again" for row in range(NUM_ROWS)]
    write(folder, rows().with_columns(words=pl.Series(words), series=pl.Series([f"{row}.npy" for row in range(40)])))
    text, series = {"name": "text", "length": 3}, {"name": "sequence", "length": 3, "size": 2}
    out = packed(folder, kinds={"picture": PICTURE, "words": text, "series": series})
    test = open_split(out, "test")
    assert np.isnan(test.arrays["series"]).sum(axis=(1, 2)).tolist() == [2, 0, 0, 2, 0, 0, 2, 0]
    assert test.meta.modalities["words"].tokens is not None
    assert len(test.meta.modalities["words"].tokens) == 2 + 6


def test_without_a_split_column_each_class_is_split_alike(folder: Path) -> None:
    write(folder, rows().drop("split"))
    out = packed(folder, test=0.25, validation=0.1)
    sizes = {split: len(open_split(out, split)) for split in Split}
    assert sizes == {"train": 26, "validation": 4, "test": 10}
    for split in Split:
        labels = open_split(out, split).labels
        assert abs(int(labels.sum()) * 2 - len(labels)) <= 1
    ids = [open_split(out, split).ids for split in Split]
    pack(manifest(folder, test=0.25, validation=0.1), folder / "again")
    assert ids == [open_split(folder / "again", split).ids for split in Split]
    pack(manifest(folder, test=0.25, validation=0.1, seed=1), folder / "other")
    assert ids != [open_split(folder / "other", split).ids for split in Split]


def test_a_group_is_in_one_split(folder: Path) -> None:
    write(folder, rows().drop("split"))
    out = packed(folder, columns={"group": "speaker"})
    groups = [set(pl.read_parquet(out / split / "manifest.parquet")["group"]) for split in Split]
    assert sum(map(len, groups)) == len(set().union(*groups)) == 10
    assert all(groups)


def test_few_groups_are_still_split() -> None:
    labels, groups = np.array(["a", "b"] * 12), np.repeat(["one", "two", "three", "four"], 6)
    held = draw(labels, groups, 0.1, 0)
    assert set(groups[held]).isdisjoint(groups[~held])
    assert len(set(groups[held])) == 1
    with pytest.raises(ValueError, match=r"no split can be drawn: the class '[ab]' has 1 group;"):
        draw(labels, np.full(24, "one"), 0.1, 0)


def test_validation_is_drawn_where_the_file_names_none(folder: Path) -> None:
    write(folder, rows().with_columns(pl.col("split").replace("dev", "train")))
    out = packed(folder, validation=0.25)
    assert {split: len(open_split(out, split)) for split in Split} == {"train": 24, "validation": 8, "test": 8}


def test_too_few_rows_of_a_class_for_a_split_are_refused() -> None:
    with pytest.raises(ValueError, match="the class 'b' has 1 row; give the file a column split"):
        draw(np.array(["a", "a", "a", "b"]), None, 0.3, 0)


def test_a_group_in_two_splits_is_refused_or_skipped_where_it_is_worth_less(folder: Path) -> None:
    write(
        folder,
        rows().with_columns(
            pl.when(pl.col("id") == "clip 30").then(pl.lit("test")).otherwise("split").alias("split")
        ),
    )
    with pytest.raises(BadData, match=r"row 29 \(clip 28\), group: 'speaker 7' is in train and in test"):
        packed(folder, columns={"group": "speaker"})
    out = packed(folder, columns={"group": "speaker"}, on_bad="skip")
    assert pl.read_parquet(out / "skipped.parquet")["id"].to_list() == ["clip 28", "clip 29", "clip 31"]
    assert Meta.read(out).num_skipped == 3


def test_missing_values_are_refused_or_masked(folder: Path) -> None:
    gaps = rows().with_columns(
        sound=pl.when(pl.col("id").is_in(["clip 3", "clip 20"])).then(None).otherwise("sound"),
        picture=pl.when(pl.col("id") == "clip 5").then(pl.lit("  ")).otherwise("picture"),
    )
    write(folder, gaps)
    with pytest.raises(BadData, match=r"row 4 \(clip 3\), sound: no value; preprocess.missing: mask allows that"):
        packed(folder)
    out = packed(folder, missing="mask")
    test = open_split(out, "test")
    assert np.flatnonzero(~test.present["sound"]).tolist() == [3]
    assert np.flatnonzero(~test.present["picture"]).tolist() == [5]
    assert not test.arrays["sound"][3].any()
    train, meta = open_split(out, "train"), Meta.read(out)
    there = train.arrays["sound"][train.present["sound"]].astype(np.float64)
    assert (train.present["sound"].sum(), len(train)) == (27, 28)
    assert meta.modalities["sound"].mean == pytest.approx(there.mean(), rel=1e-12)
    write(
        folder, gaps.with_columns(pl.when(pl.col("id") == "clip 3").then(None).otherwise("picture").alias("picture"))
    )
    with pytest.raises(BadData, match=r"row 4 \(clip 3\), sound, picture: no modality has a value"):
        packed(folder, missing="mask")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"columns": {"label": "emotion"}}, r"has no column 'emotion' for label \(there are: id, sound"),
        ({"kinds": {**KINDS, "face": PICTURE}}, r"no column 'face' for face .*preprocess.columns: \{face: ...\}"),
        ({"columns": {"colour": "x"}}, r"\['colour'\] are no modality and no role \(known: label, id"),
        ({"kinds": {**KINDS, "label": PICTURE}}, r"\['label'\] name something else"),
        ({"kinds": {"sound": SOUND}}, "at least 2 items"),
        ({"kinds": {**KINDS, "x": {"name": "imag", "size": 3}}}, "unknown kind 'imag'; did you mean 'image'"),
        ({"test": 0.6, "validation": 0.5}, "leave nothing to train on"),
        ({"file": "nowhere.csv"}, "nowhere.csv: no such file"),
        ({"root": "nowhere"}, "preprocess.root: nowhere is no folder"),
    ],
)
def test_a_wrong_declaration_is_refused(folder: Path, fields: dict[str, Any], message: str) -> None:
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        packed(folder, **fields)


def test_what_is_no_table_is_refused(folder: Path) -> None:
    text = (folder / "pairs.csv").read_text()
    (folder / "pairs.csv").write_bytes(text.replace("clip 2,", "clip é,", 1).encode("latin-1"))
    with pytest.raises(ValueError, match=r"pairs.csv, line 4: the byte 0xe9 is not UTF-8; save the file as UTF-8"):
        packed(folder)
    (folder / "pairs.csv").write_text(text.replace("clip 2,", 'clip "2,', 1))
    with pytest.raises(ValueError, match=r"pairs.csv, line 4: a quote that is not closed"):
        packed(folder)
    (folder / "pairs.csv").write_text(text.splitlines()[0] + "\n")
    with pytest.raises(ValueError, match=r"pairs.csv has no row"):
        packed(folder)
    (folder / "pairs.csv").write_text(text.replace("clip 2,", "clip 2,or so,", 1))
    with pytest.raises(ValueError, match=r"pairs.csv, line 4: \d+ cells, but \d+ columns; quote a text that has ','"):
        packed(folder)
    (folder / "pairs.csv").write_text(text.replace(",", ";"))
    with pytest.raises(ValueError, match=r"pairs.csv: its columns are separated by ';'; expected ','"):
        packed(folder)
    (folder / "pairs.csv").write_text("")
    with pytest.raises(ValueError, match=r"pairs.csv cannot be read"):
        packed(folder)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (pl.lit("later").alias("split"), r"row 1: split 'later' \(known: train"),
        (pl.lit("clip").alias("id"), r"row 2 \(clip\), id: row 1 has the same id"),
        (
            pl.when(pl.col("id") == "clip 7").then(None).otherwise("label").alias("label"),
            r"row 8 \(clip 7\), label: no",
        ),
        (
            pl.when(pl.col("id") == "clip 7").then(pl.lit("Happy ")).otherwise("label").alias("label"),
            r"one label is spelled in several ways: 'happy' in row 2, 'Happy ' in row 8",
        ),
    ],
)
def test_wrong_rows_are_refused(folder: Path, edit: pl.Expr, message: str) -> None:
    write(folder, rows().with_columns(edit))
    with pytest.raises(ValueError, match=message):
        packed(folder)


def test_a_number_that_is_none_is_refused(folder: Path) -> None:
    write(folder, rows().with_columns(x=pl.Series(["1"] * 5 + ["two"] + ["1"] * 34), y=pl.lit("3")))
    with pytest.raises(ValueError, match=r"row 6 \(clip 5\), table: column 'x': 'two' is no number"):
        packed(folder, kinds={**KINDS, "body": {"name": "features", "size": 2}}, columns={"body": ["x", "y"]})


def test_the_command_tells_the_findings_in_a_narrow_window(folder: Path) -> None:
    params = (ROOT / "params.yaml").read_text()
    section = params[params.index("preprocess:") : params.index("\n#", params.index("preprocess:"))]
    spec = {"name": "manifest", "file": "pairs.csv", "kinds": KINDS}
    (folder / "params.yaml").write_text(
        params.replace(section, f"preprocess: {spec}\n").replace("raw: data/sample", "raw: .")
    )
    clean = subprocess.run(
        [sys.executable, "-m", "bss", "check"], cwd=folder, capture_output=True, text=True, check=False
    )
    assert (clean.returncode, clean.stdout.splitlines()[2:]) == (0, [
        "happy     14           2     4", "sad       14           2     4",
        "largest class: happy, 50.0 % of 40 pairs", "", "manifest: 0 rows cannot be used",
    ]), clean.stderr  # fmt: skip
    (folder / "3.wav").unlink()
    found = subprocess.run(
        [sys.executable, "-m", "bss", "check"], cwd=folder, capture_output=True, text=True, check=False
    )
    assert found.returncode == 1
    assert found.stdout.splitlines()[-2:] == ["manifest: 1 row cannot be used", "row 4 (clip 3), 3.wav: no such file"]


def test_where_every_row_has_a_fault_the_command_tells_them(folder: Path) -> None:
    write(folder, rows().with_columns(sound=pl.col("picture")))
    params = (ROOT / "params.yaml").read_text()
    section = params[params.index("preprocess:") : params.index("\n#", params.index("preprocess:"))]
    spec = {"name": "manifest", "file": "pairs.csv", "kinds": KINDS}
    (folder / "params.yaml").write_text(
        params.replace(section, f"preprocess: {spec}\n").replace("raw: data/sample", "raw: .")
    )
    found = subprocess.run(
        [sys.executable, "-m", "bss", "check"], cwd=folder, capture_output=True, text=True, check=False
    )
    assert (found.returncode, found.stderr) == (1, "")
    assert "no pair is left: every row has a fault" in found.stdout
    assert "manifest: 40 rows cannot be used" in found.stdout


def test_labels_that_are_numbers_are_names(folder: Path) -> None:
    write(folder, rows().with_columns(label=pl.Series([f"{row % 2:02}" for row in range(40)])))
    assert Manifest.model_validate({"file": str(folder / "pairs.csv"), "kinds": KINDS}).classes == ("00", "01")


COLUMNS = {f"a{number}": pl.Series([number + row / 100 for row in range(NUM_ROWS)]) for number in range(12)}
WIDE = {"body": {"name": "features"}, "picture": PICTURE}


@pytest.mark.parametrize("pattern", ["a0..a11", "a*", ["a0..a5", "a6", "a7..a11"], ["a[0-9]*"]])
def test_many_columns_are_named_at_once_and_their_number_is_found(pattern: Any, folder: Path) -> None:
    write(folder, rows().with_columns(**COLUMNS, age=pl.Series([str(row) for row in range(NUM_ROWS)])))
    out = packed(folder, kinds=WIDE, columns={"body": pattern, "id": "age"})
    test = open_split(out, "test")
    assert test.meta.modalities["body"].shape == (12,)
    assert test.arrays["body"][3] == pytest.approx(np.arange(12) + 0.03)
    assert test.ids[3] == "3"


def test_a_pattern_that_fits_nothing_is_told(folder: Path) -> None:
    write(folder, rows().with_columns(**COLUMNS))
    with pytest.raises(ValueError, match=r"columns: 'b\*' is the beginning of no column \(there are: id, sound"):
        packed(folder, kinds=WIDE, columns={"body": "b*"})
    with pytest.raises(ValueError, match="has no column 'a12' for body"):
        packed(folder, kinds=WIDE, columns={"body": "a0..a12"})


def test_a_size_that_is_left_out_is_that_of_most(folder: Path) -> None:
    numbers = [[float(row)] * (2 if row == 13 else 3) for row in range(NUM_ROWS)]
    steps = [[[1.0, 2.0]] * (1 + row % 3) for row in range(NUM_ROWS)]
    table = rows().with_columns(body=pl.Series(numbers), walk=pl.Series(steps))
    table.write_parquet(folder / "pairs.parquet")
    kinds = {"body": {"name": "features"}, "walk": {"name": "sequence", "length": 4}}
    dataset = manifest(folder, file=str(folder / "pairs.parquet"), kinds=kinds, on_bad="skip")
    pack(dataset, folder / "packed")
    meta = Meta.read(folder / "packed")
    assert {name: one.shape for name, one in meta.modalities.items()} == {"body": (3,), "walk": (4, 2)}
    assert pl.read_parquet(folder / "packed/skipped.parquet")["id"].to_list() == ["clip 13"]


def test_the_example_is_a_table_without_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (ROOT / "data/example/README.md").read_text()
    given = yaml.safe_load(page.split("```yaml")[1].split("```")[0])
    monkeypatch.chdir(ROOT)
    findings, counts = examine(DATASETS.build(given["preprocess"]), tmp_path / "packed")
    assert findings == []
    assert counts.rows() == [("3", 3, 1, 1), ("8", 3, 1, 1)]


@pytest.mark.parametrize(
    ("labels", "ordered"),
    [
        (["10", "9", "1"], ["1", "9", "10"]),
        (["0.5", "0.25", "-1", "1e1"], ["-1", "0.25", "0.5", "1e1"]),
        (["class 10", "class 9", "b", "class 9b"], ["b", "class 9", "class 9b", "class 10"]),
        (["2", "10", "other"], ["2", "10", "other"]),
        (["10 cm", "9 cm", "inf", "1"], ["1", "9 cm", "10 cm", "inf"]),
        (["sad", "happy", "Angry"], ["Angry", "happy", "sad"]),
        (["v1.10", "v1.9"], ["v1.9", "v1.10"]),
    ],
)
def test_classes_are_in_the_order_that_a_person_counts_in(labels: list[str], ordered: list[str]) -> None:
    assert natural_order(labels) == natural_order(labels[::-1]) == ordered


def test_the_classes_of_a_file_are_numbered_in_natural_order(folder: Path) -> None:
    names = [("10", "9")[row % 2] for row in range(NUM_ROWS)]
    write(folder, rows().with_columns(label=pl.Series(names)))
    assert manifest(folder).classes == ("9", "10")


@pytest.mark.parametrize(
    ("raw", "title", "shown"),
    [("v1.2", None, "v1.2"), ("pairs.csv", None, "pairs"), ("pairs.csv", "Gestures at home", "Gestures at home")],
)
def test_a_page_calls_the_data_by_its_title_or_by_where_it_lies(
    folder: Path, raw: str, title: str | None, shown: str
) -> None:
    (folder / "v1.2").mkdir()
    assert manifest(folder, title=title).titled(folder / raw) == shown
    assert Digits().titled(folder / raw) == "digits"
