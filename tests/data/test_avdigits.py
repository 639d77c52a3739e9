"""The pairing and the splits of avdigits are the published ones."""

import gzip
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from bss.data.datasets._fetch import raw_folder
from bss.data.datasets.avdigits import IMAGES, LABELS, RECORDINGS, AVDigits, recording_names
from tests.helpers import ROOT


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(ROOT)
    found = raw_folder("avdigits")
    if not found.is_dir():
        pytest.skip("avdigits is not here: set BSS_DATA to the folder that holds it")
    return found


def pairs(folder: Path, **fields: Any) -> pl.DataFrame:
    return AVDigits(**fields).items(folder)


@pytest.mark.parametrize(
    ("split", "sizes"),
    [
        ("speaker", {"train": 1800, "validation": 200, "test": 1000}),
        ("official", {"train": 2400, "validation": 300, "test": 300}),
    ],
)
def test_the_sizes_are_the_published_ones(folder: Path, split: str, sizes: dict[str, int]) -> None:
    items = pairs(folder, split=split)
    assert dict(items["split"].value_counts().rows()) == sizes
    assert set(items["label"].value_counts()["count"]) == {300}
    assert items["damaged"].null_count() == 3000


def test_the_speaker_split_shares_no_speaker_with_test(folder: Path) -> None:
    items = pairs(folder)
    assert set(items.filter(split="test")["speaker"]) == {"lucas", "theo"}
    assert not {"lucas", "theo"} & set(items.filter(pl.col("split") != "test")["speaker"])
    assert set(items.filter(split="validation")["audio"].str.extract(r"_(\d+)\.wav")) == set("01234")


def test_the_official_test_split_is_the_first_five_takes_of_everyone(folder: Path) -> None:
    test = pairs(folder, split="official").filter(split="test")
    assert set(test["audio"].str.extract(r"_(\d+)\.wav")) == set("01234")
    assert test["speaker"].n_unique() == 6


def test_the_pairing_follows_the_published_rule(folder: Path) -> None:
    images = np.frombuffer(gzip.decompress((folder / IMAGES.path).read_bytes())[16:], np.uint8).reshape(10000, 28, 28)
    labels = list(gzip.decompress((folder / LABELS.path).read_bytes())[8:])
    expected: dict[str, np.ndarray] = {}
    for digit in range(10):
        names = sorted(path.name for path in folder.glob(f"recordings/{digit}_*.wav"))
        order = np.random.RandomState(digit).permutation([row for row in range(10000) if labels[row] == digit])
        expected |= {f"recordings/{name}": images[order[place]] for place, name in enumerate(names)}
    items = pairs(folder)
    assert len(expected) == len(items)
    for name, image in zip(items["audio"], items["image"].to_numpy(), strict=True):
        assert (image == expected[name]).all()


def test_damage_and_components_leave_the_test_recordings(folder: Path) -> None:
    plain, hard = pairs(folder), pairs(folder, damage=0.4, image_components=4, seed=1)
    assert (hard["damaged"] == "image").sum() == (hard["damaged"] == "audio").sum() == 360
    test = pl.col("split") == "test"
    assert plain.filter(test)["audio"].equals(hard.filter(test)["audio"])
    assert not plain.filter(test)["image"].equals(hard.filter(test)["image"])


def test_the_files_here_are_the_published_ones(folder: Path) -> None:
    assert AVDigits().locate() == folder


def test_a_missing_and_a_changed_recording_are_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("BSS_DATA", str(tmp_path))
    shutil.copytree(folder, tmp_path / "avdigits")
    recording = tmp_path / "avdigits" / RECORDINGS.path / recording_names()[7]
    recording.chmod(0o644)
    recording.write_bytes(recording.read_bytes()[:-1])
    with pytest.raises(ValueError, match=f"{recording.name} is not as published"):
        AVDigits().locate()
    recording.parent.chmod(0o755)
    recording.unlink()
    with pytest.raises(ValueError, match=f"{recording.name} is missing"):
        AVDigits().locate()
