"""Kinetics-Sounds from Kinetics' own lists and clips, and from the frames of the published loaders."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from bss.data.datasets.kinetics_sounds import KineticsSounds
from bss.data.packing.check import BadData
from bss.types import Split
from tests.helpers.media import write_frames, write_video, write_wav
from tests.helpers.stages import FAST, packed, raw_root, run_stages

CLASSES = ("playing drums", "tap dancing")
TINY: dict[str, Any] = {
    "sample_rate": 8000, "seconds": 0.8, "n_fft": 64, "hop_length": 64, "image_size": 16, "fps": 10.0,
}  # fmt: skip
PARTS = {"train": 6, "validate": 4, "test": 4}


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return raw_root("kinetics_sounds", tmp_path, monkeypatch)


def write_official(root: Path) -> None:
    """The last clip of each list is of another class of Kinetics."""
    (root / "classes.txt").write_text("\n".join(reversed(CLASSES)) + "\n")
    for part, number in PARTS.items():
        names = [f"{part}_{place}-abc"[-11:] for place in range(number)]
        labels = [CLASSES[place % 2] for place in range(number)]
        listed = [f'"{label}",{name},7,17,{part}' for label, name in zip(labels, names, strict=True)]
        header = "label,youtube_id,time_start,time_end,split"
        (root / f"{part}.csv").write_text("\n".join([header, *listed, f"yoga,{part}-elsewhere,1,11,{part}"]))
        for seed, (label, name) in enumerate(zip(labels, names, strict=True)):
            write_video(root / f"videos/{part}/{label}/{name}_000007_000017.mp4", seed + ord(part[1]), 6)


def write_folders(root: Path, train: int = 20, test: int = 4) -> None:
    for part, number in [("train", train), ("test", test)]:
        names = [f"{part}{place}" for place in range(number)]
        listed = [f"{CLASSES[place % 2]},{name}" for place, name in enumerate(names)]
        (root / "annotations").mkdir(exist_ok=True)
        (root / f"annotations/{part}.csv").write_text("\n".join(["label,youtube_id", *listed]))
        for seed, name in enumerate(names, 50 * (part == "test")):
            write_wav(root / f"{part}_wav/{name}.wav", seed)
            write_frames(root / f"{part}_img/Image-01-FPS/{name}", seed, 6)


def test_the_clips_and_lists_of_kinetics(root: Path, tmp_path: Path) -> None:
    write_official(root)
    splits = packed(KineticsSounds(**TINY), tmp_path / "packed")
    assert [len(splits[split]) for split in Split] == [6, 4, 4]
    assert splits[Split.TRAIN].meta.classes == CLASSES
    assert splits[Split.TRAIN].labels.tolist() == [0, 1] * 3
    assert splits[Split.VALIDATION].ids[0] == "alidate_0-abc"[-11:]
    assert splits[Split.TEST].arrays["audio"].shape == (4, 1, 33, 101)
    assert splits[Split.TEST].arrays["video"].shape == (4, 3, 3, 16, 16)
    assert splits[Split.TEST].arrays["audio"].astype(np.float32).std() > 1, "the sound of the video is there"
    manifest = pl.read_parquet(tmp_path / "packed/test/manifest.parquet")
    assert manifest["audio"][0] == "videos/test/playing drums/test_0-abc_000007_000017.mp4"
    assert manifest["audio_duration"][0] == pytest.approx(0.6, abs=0.1)
    assert "those of the lists" in KineticsSounds().notes[1]


def test_the_frames_and_lists_of_the_published_loaders(root: Path, tmp_path: Path) -> None:
    write_folders(root)
    splits = packed(KineticsSounds(**TINY), tmp_path / "packed")
    assert [len(splits[split]) for split in Split] == [18, 2, 4]
    assert set(splits[Split.TEST].ids) == {f"test{place}" for place in range(4)}
    assert sorted(splits[Split.VALIDATION].labels) == [0, 1], "a tenth of each class"
    bars = splits[Split.TEST].arrays["video"].astype(np.float32).mean(axis=(1, 3)).argmax(axis=-1)
    assert (bars == [1, 3, 5]).all(), "the middles of three equal parts of six frames, not the first three"
    assert "tenth" in KineticsSounds().notes[1]


def test_a_published_validation_list_is_used(root: Path) -> None:
    write_folders(root)
    for kind in ("wav", "img"):
        shutil.copytree(root / f"test_{kind}", root / f"val_{kind}")
    shutil.copy(root / "annotations/test.csv", root / "annotations/val.csv")
    items = KineticsSounds().items(root)
    assert items["split"].value_counts().sort("split")["count"].to_list() == [4, 20, 4]
    assert items.filter(split="validation")["audio"][0] == "val_wav/test0.wav"


def test_clips_with_three_frames_or_fewer_are_left_out(root: Path, tmp_path: Path) -> None:
    write_folders(root)
    shutil.rmtree(root / "train_img/Image-01-FPS/train3")
    write_frames(root / "train_img/Image-01-FPS/train3", 3, 3)
    (root / "test_wav/test1.wav").unlink()
    splits = packed(KineticsSounds(**TINY), tmp_path / "packed")
    assert sum(map(len, splits.values())) == 22
    assert splits[Split.TEST].meta.num_skipped == 2
    skipped = pl.read_parquet(tmp_path / "packed/skipped.parquet")
    assert skipped["id"].to_list() == ["train3", "test1"]
    assert skipped["reason"][0] == "has 3 frames, 4 are needed"
    assert sum(map(len, packed(KineticsSounds(min_frames=3, **TINY), tmp_path / "packed").values())) == 23


def test_short_clips_are_left_out_of_the_videos(root: Path, tmp_path: Path) -> None:
    write_official(root)
    write_video(root / "videos/train/playing drums/train_0-abc_000007_000017.mp4", 0, 3)
    splits = packed(KineticsSounds(**TINY), tmp_path / "packed")
    assert len(splits[Split.TRAIN]) == 5


def test_a_missing_clip_is_named_where_that_is_an_error(root: Path, tmp_path: Path) -> None:
    write_official(root)
    (root / "videos/train/tap dancing/train_1-abc_000007_000017.mp4").unlink()
    with pytest.raises(BadData, match=r"videos/train_1-abc_000007_000017\.mp4: no such file"):
        packed(KineticsSounds(on_bad="error", **TINY), tmp_path / "packed")


@pytest.mark.parametrize("name", ["classes.txt", "validate.csv", "videos"])
def test_what_is_missing_of_the_clips_is_named(root: Path, name: str) -> None:
    write_official(root)
    path = root / name
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(FileNotFoundError, match=rf"kinetics_sounds/{name}.* is missing") as error:
        KineticsSounds().locate()
    for part in ("frames (published", "clips (as handed", "cvdfoundation"):
        assert part in str(error.value)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("tap dancing", "line 22: the 2 columns label, youtube_id are needed"),
        ("tap dancing,", "line 22: a label and a youtube_id are needed"),
    ],
)
def test_a_broken_line_is_named(root: Path, line: str, message: str) -> None:
    write_folders(root)
    path = root / "annotations/train.csv"
    path.write_text(f"{path.read_text()}\n{line}")
    with pytest.raises(ValueError, match=message):
        KineticsSounds().items(root)


def test_a_list_without_its_columns_is_named(root: Path) -> None:
    write_folders(root)
    (root / "annotations/test.csv").write_text("name,id\na,b\n")
    with pytest.raises(ValueError, match=r"test\.csv: no column 'label' \(there are: name, id\)"):
        KineticsSounds().items(root)


@pytest.mark.nightly
def test_the_whole_pipeline(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_folders(root)
    monkeypatch.chdir(tmp_path)
    metrics = run_stages(tmp_path, {"name": "kinetics_sounds", **TINY}, {"audio": FAST, "video": FAST})
    assert set(metrics) >= {"audio", "video", "fused"}
