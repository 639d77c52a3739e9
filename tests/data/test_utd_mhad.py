"""The recordings, the splits and the files of utd_mhad."""

import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import polars as pl
import pytest
from scipy.io import loadmat, savemat

from bss.data.datasets._fetch import raw_folder
from bss.data.datasets.dataset import DATASETS
from bss.data.datasets.utd_mhad import ACTIONS, SENSORS, UTDMHAD, file_name
from bss.data.packed import Meta, open_split
from bss.data.packing.pack import pack
from bss.parsing import parsed
from tests.helpers import ROOT

ARRAYS = {"inertial": "d_iner", "skeleton": "d_skel", "depth": "d_depth"}


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch) -> Path:
    """The published files, of which the depth files are thinned out."""
    monkeypatch.chdir(ROOT)
    found = raw_folder("utd_mhad")
    if not found.is_dir():
        pytest.skip("utd_mhad is not here: set BSS_DATA to the folder that holds it")
    return found


def recordings(**fields: Any) -> pl.DataFrame:
    return UTDMHAD(**fields).items(Path())


def people(items: pl.DataFrame, split: str) -> list[int]:
    return sorted(int(group.removeprefix("person ")) for group in items.filter(split=split)["group"].unique())


def made_up(recording: tuple[int, int, int]) -> dict[str, np.ndarray]:
    """Arrays of the published shapes, with few frames."""
    draw = np.random.default_rng(recording)
    num_frames = int(draw.integers(6, 10))
    return {
        "inertial": draw.normal(size=(2 * num_frames, 6)),
        "skeleton": draw.normal(size=(20, 3, num_frames)),
        "depth": draw.integers(0, 4000, (24, 32, num_frames)).astype(np.uint16),
    }


def test_every_recording_is_a_triple() -> None:
    items = recordings()
    assert len(items) == items["id"].n_unique() == 861
    assert items["label"].unique(maintain_order=True).to_list() == list(ACTIONS) == list(UTDMHAD().classes)
    fewer = {ACTIONS[action - 1]: 31 for action in (8, 23, 27)}
    assert dict(items["label"].value_counts().rows()) == dict.fromkeys(ACTIONS, 32) | fewer
    first = items.row(0, named=True)
    assert first["depth"] == "Depth/a1_s1_t1_depth.mat"
    assert (first["label"], first["group"], first["take"]) == ("swipe_left", "person 1", 1)


def test_the_published_split_is_by_person() -> None:
    items = recordings()
    assert {split: people(items, split) for split in ("train", "validation", "test")} == {
        "train": [1, 3, 5],
        "validation": [7],
        "test": [2, 4, 6, 8],
    }
    assert dict(items["split"].value_counts().rows()) == {"train": 323, "validation": 108, "test": 430}
    assert people(recordings(validation=3), "validation") == [3]


@pytest.mark.parametrize("folds", range(2, 9))
def test_folds_rotate_the_people(folds: int) -> None:
    each = [recordings(folds=folds, fold=fold) for fold in range(folds)]
    assert sorted(person for items in each for person in people(items, "test")) == list(range(1, 9))
    held = [people(items, "validation") for items in each]
    assert all(len(persons) == 1 for persons in held)
    assert len({persons[0] for persons in held}) == folds, "another one in each"
    for items, persons in zip(each, held, strict=True):
        assert persons[0] not in people(items, "test")
        assert len(people(items, "train")) == 7 - len(people(items, "test"))
    assert (folds == 2) == (people(each[0], "test") == [2, 4, 6, 8])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"fold": 1}, r"fold is 1, expected one in \[0, folds\), and folds is None"),
        ({"folds": 4, "fold": 4}, "fold is 4"),
        ({"folds": 9}, "less than or equal to 8"),
        ({"validation": 2}, r"validation: person 2 is one of the test people \[2, 4, 6, 8\]"),
        ({"streams": ["inertial"]}, "at least 2"),
        ({"streams": ["bone", "bone"]}, "name one modality twice"),
        ({"streams": ["joint", "skeleton"]}, "name one modality twice"),
        ({"streams": ["joint", "colour"]}, "'depth'"),
    ],
)
def test_fields_that_do_not_fit_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        UTDMHAD(**fields)


def test_three_views_of_the_skeleton_are_modalities_of_their_own() -> None:
    shown = (ROOT / "docs/datasets.md").read_text()
    examples = [DATASETS.build(parsed(spec)) for spec in re.findall(r"preprocess: (\{name: utd_mhad.*?\})", shown)]
    assert [(dataset.streams[0], dataset.folds) for dataset in examples] == [
        ("inertial", None),
        ("joint", None),
        ("inertial", 8),
    ]
    dataset = examples[1].model_copy(update={"length": 8})
    items = dataset.items(Path())
    assert items["joint"].equals(items["bone"], null_equal=True)
    assert [kind.name for kind in dataset.modalities.values()] == ["skeleton"] * 3
    value = made_up((1, 1, 1))["skeleton"]
    joint, bone, motion = (kind.read(value).reshape(8, 20, 3) for kind in dataset.modalities.values())
    assert not joint[:, 3].any(), "the hip centre is where all joints are counted from"
    assert bone[:, 0] == pytest.approx(joint[:, 0] - joint[:, 1], abs=1e-5), "from the shoulder centre to the head"
    assert motion[:-1] == pytest.approx(np.diff(joint, axis=0), abs=1e-5)


def test_full_depth_files_and_thinned_ones_are_read_alike() -> None:
    kind = UTDMHAD().modalities["depth"]
    rows, columns, frames = np.mgrid[:240, :320, :66]
    full = (2000 + 3 * rows + columns + 10 * frames).astype(np.uint16)
    thinned = full[::4, ::4, ::3]
    assert (full.shape, thinned.shape) == ((240, 320, 66), (60, 80, 22))
    assert kind.read(full).shape == kind.read(thinned).shape == (1, 12, 30, 40)
    difference = kind.read(full).astype(float) - kind.read(thinned).astype(float)
    assert abs(difference).max() < 40, "two frames and a thinned pixel"


def test_the_files_here_are_the_published_ones(folder: Path) -> None:
    assert UTDMHAD().locate() == folder
    for sensor, name in ARRAYS.items():
        array = loadmat(folder / SENSORS[sensor] / file_name(8, 2, 1, sensor))[name]
        kind = UTDMHAD().modalities[sensor]
        path = folder / SENSORS[sensor] / file_name(8, 2, 1, sensor)
        assert (kind.read(path) == kind.read(array)).all()


def test_head_and_feet_are_where_the_order_of_the_joints_says(folder: Path) -> None:
    joints = loadmat(folder / "Skeleton" / file_name(1, 1, 1, "skeleton"))["d_skel"]
    height = joints[:, 1].mean(axis=1)
    assert height.argmax() == 0, "the head is highest"
    assert set(height.argsort()[:4]) == {14, 15, 18, 19}, "ankles and feet are lowest"
    assert joints[10].std(axis=1).max() > 5 * joints[6].std(axis=1).max(), "the right wrist swipes"
    shown = UTDMHAD().modalities["skeleton"].exhibit(joints)
    assert PIL.Image.open(io.BytesIO(shown.content)).size == (360, 96)


def test_recordings_are_packed_by_the_statistics_of_the_people_who_train(folder: Path, tmp_path: Path) -> None:
    dataset = UTDMHAD(streams=["inertial", "skeleton"], length=8, inertial_length=8)
    pack(dataset, tmp_path / "packed")
    train, meta = open_split(tmp_path / "packed", "train"), Meta.read(tmp_path / "packed")
    for name, width in {"inertial": 6, "skeleton": 60}.items():
        about = meta.modalities[name]
        assert about.shape == (8, width)
        assert about.mean == pytest.approx(train.arrays[name].mean(axis=(0, 1)), abs=1e-4)
    hip = slice(9, 12)
    assert isinstance(meta.modalities["skeleton"].std, tuple)
    assert meta.modalities["skeleton"].std[hip] == (1, 1, 1), "a constant number stays 0"


def test_a_file_that_is_missing_or_changed_is_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("BSS_DATA", str(tmp_path))
    copy = tmp_path / "utd_mhad"
    for sensor in SENSORS.values():
        (copy / sensor).mkdir(parents=True)
        for path in (folder / sensor).resolve().iterdir():
            (copy / sensor / path.name).symlink_to(path)
    assert UTDMHAD().locate() == copy
    (copy / "Depth" / file_name(4, 5, 1, "depth")).unlink()
    with pytest.raises(ValueError, match=r"Depth/a4_s5_t1_depth\.mat is missing: 1 of 861 files are not there"):
        UTDMHAD().locate()
    assert UTDMHAD(streams=["inertial", "skeleton"]).locate() == copy, "depth is not asked for"
    changed = copy / "Inertial" / file_name(4, 5, 1, "inertial")
    changed.unlink()
    savemat(changed, {"d_iner": np.ones((5, 6))})
    with pytest.raises(ValueError, match="Inertial is not as published"):
        UTDMHAD().locate()
