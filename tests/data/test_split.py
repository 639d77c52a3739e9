"""Splits that are drawn: folds, groups, and classes that a split lacks."""

import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from bss.data.datasets._split import draw, parts
from bss.data.packed import Meta, open_split
from bss.data.packing.classes import absent_classes, count_classes
from bss.data.packing.pack import examine, pack
from bss.errors import InputError
from bss.types import Split
from tests.helpers.pairs import make_pairs, manifest, rows, write

LABELS = np.array(["a"] * 40 + ["b"] * 20 + ["c"] * 8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_pairs(tmp_path)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("grouped", [False, True])
def test_parts_are_equal_and_stratified(seed: int, grouped: bool) -> None:
    groups = np.arange(68) // 2 if grouped else None
    part = parts(LABELS, groups, 4, seed)
    sizes = {name: np.bincount(part[name == LABELS], minlength=4) for name in "abc"}
    assert all(np.ptp(of_class) <= (2 if grouped else 1) for of_class in sizes.values())
    assert np.array_equal(part, parts(LABELS, groups, 4, seed))
    if groups is not None:
        assert all(len(set(part[groups == group])) == 1 for group in groups)


def test_of_the_ways_to_hold_groups_out_one_with_all_classes_is_taken() -> None:
    groups = np.concatenate([np.arange(60) % 30, np.repeat([30, 31], 4)])  # class c is in two groups alone
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for seed in range(10):
            held = draw(LABELS, groups, 0.1, seed)
            assert set(LABELS[held]) == set(LABELS[~held]) == set("abc")
            assert set(groups[held]).isdisjoint(groups[~held])


def test_every_row_is_tested_in_one_fold(folder: Path) -> None:
    write(folder, rows().drop("split"))
    tested: list[str] = []
    for fold in range(4):
        items = manifest(folder, folds=4, fold=fold).items(folder)
        sizes = Counter(items["split"].to_list())
        assert sizes == {"train": 26, "validation": 4, "test": 10}
        tested.extend(items.filter(split="test")["id"].to_list())
    assert sorted(tested) == sorted(rows()["id"])
    other = manifest(folder, folds=4, seed=1).items(folder)
    assert other.filter(split="test")["id"].to_list() != tested[:10]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"fold": 1}, r"fold is 1, expected one in \[0, folds\), and folds is None"),
        ({"folds": 4, "fold": 4}, "fold is 4"),
        ({"folds": 2, "validation": 0.5}, "validation 0.5 and test 0.5 leave nothing"),
        ({"folds": 1}, "greater than or equal to 2"),
    ],
)
def test_folds_that_do_not_fit_are_refused(fields: dict[str, float], message: str, folder: Path) -> None:
    with pytest.raises(ValueError, match=message):
        manifest(folder, **fields)


def test_folds_of_a_table_with_splits_are_refused(folder: Path) -> None:
    with pytest.raises(InputError, match="folds are drawn, and .* has the splits in its column 'split'"):
        manifest(folder, folds=4).items(folder)


def test_classes_that_a_split_lacks_are_counted(folder: Path) -> None:
    rare = pl.when(pl.col("speaker") == "speaker 9").then(pl.lit("rare")).otherwise("label")
    write(folder, rows().drop("split").with_columns(label=rare))
    dataset = manifest(folder, columns={"group": "speaker"})  # one speaker, who can be in one split alone
    findings, counts = examine(dataset, folder / "packed")
    assert findings == []
    items = dataset.items(folder).select("label", "split").rows()
    for row in counts.to_dicts():
        assert [row[split] for split in Split] == [items.count((row["class"], split.value)) for split in Split]
    assert absent_classes(counts) == {Split.VALIDATION: ("rare",), Split.TEST: ("rare",)}
    pack(dataset, folder / "packed")
    assert Meta.read(folder / "packed").absent_classes == absent_classes(counts)


def test_where_no_class_is_absent_nothing_is_noted(folder: Path) -> None:
    pack(manifest(folder), folder / "packed")
    assert "absent" not in (folder / "packed/meta.json").read_text()
    split = open_split(folder / "packed", "train")
    assert count_classes(manifest(folder).items(folder), split.meta.classes)["train"].sum() == len(split)
