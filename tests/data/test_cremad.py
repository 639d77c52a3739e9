"""CREMA-D from the clips and from the frames, in both splits; what is wrong is named."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from bss.data.datasets import cremad_votes
from bss.data.datasets.cremad import Cremad, by_actor
from bss.data.packing.check import BadData
from bss.types import Split
from tests.helpers.media import write_frames, write_video, write_wav
from tests.helpers.stages import FAST, packed, raw_root, run_stages

EMOTIONS = ("ANG", "DIS", "FEA", "HAP", "NEU", "SAD")
CLIPS = [f"{actor}_IEO_{emotion}_XX" for actor in range(1001, 1008) for emotion in EMOTIONS]
TINY: dict[str, Any] = {
    "sample_rate": 8000, "seconds": 0.8, "n_fft": 64, "hop_length": 64,
    "image_size": 16, "num_frames": 2, "fps": 10.0,
}  # fmt: skip


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return raw_root("cremad", tmp_path, monkeypatch)


def write_clips(root: Path) -> None:
    for seed, clip in enumerate(CLIPS):
        write_wav(root / f"AudioWAV/{clip}.wav", seed)
        write_video(root / f"VideoFlash/{clip}.flv", seed, 5)


def write_lists(root: Path, train: list[str], test: list[str]) -> None:
    (root / "annotations").mkdir(exist_ok=True)
    for name, clips in [("train", train), ("test", test)]:
        text = "".join(f"{clip},{clip.split('_')[2]}\r\n" for clip in clips)
        (root / f"annotations/{name}.csv").write_text(text)


def write_folders(root: Path) -> None:
    for seed, clip in enumerate(CLIPS):
        write_wav(root / f"AudioWAV/{clip}.wav", seed)
        write_frames(root / f"Image-01-FPS/{clip}", seed, 3)
    write_lists(root, CLIPS[:-12], CLIPS[-12:])


def test_the_clips_as_handed_out_are_split_by_actor(root: Path, tmp_path: Path) -> None:
    write_clips(root)
    splits = packed(Cremad(split="actor", **TINY), tmp_path / "packed")
    assert {split: len(opened) for split, opened in splits.items()} == {"train": 30, "validation": 6, "test": 6}
    actors = {split: {name[:4] for name in opened.ids} for split, opened in splits.items()}
    assert len(set.union(*actors.values())) == 7 == sum(map(len, actors.values()))
    for split, opened in splits.items():
        assert [EMOTIONS[label] for label in opened.labels] == [name[9:12] for name in opened.ids]
        assert opened.arrays["audio"].shape[1:] == (1, 33, 101)
        assert opened.arrays["video"].shape[1:] == (3, 2, 16, 16)
        manifest = pl.read_parquet(tmp_path / "packed" / split / "manifest.parquet")
        assert manifest["group"].equals(manifest["actor"].alias("group"))
    assert "none in two" in Cremad(split="actor").notes[0]


def test_the_sound_is_repeated_and_the_frames_are_those_of_the_middles(root: Path, tmp_path: Path) -> None:
    write_clips(root)
    splits = packed(Cremad(split="actor", **(TINY | {"num_frames": 1})), tmp_path / "packed")
    spectrum = np.asarray(splits[Split.TRAIN].arrays["audio"][0], np.float32)[0]
    peaks = spectrum.argmax(axis=0)
    assert len(set(peaks[2:-2])) == 1, "0.3 s of a tone fill 0.8 s"
    frame = np.asarray(splits[Split.TRAIN].arrays["video"][0, :, 0], np.float32)
    assert frame.mean(axis=(0, 1)).argmax() == 2, "the bar of frame 2 of 5 is at pixels 4 and 5 of 32, 2 of 16"


def test_the_frames_and_lists_of_the_published_loaders(root: Path, tmp_path: Path) -> None:
    write_folders(root)
    splits = packed(Cremad(**(TINY | {"num_frames": 1})), tmp_path / "packed")
    assert set(splits[Split.TEST].ids) == set(CLIPS[-12:])
    assert len(splits[Split.VALIDATION]) == 6, "one of the five of each class"
    assert set(splits[Split.VALIDATION].ids) < set(CLIPS[:-12])
    bars = np.asarray(splits[Split.TEST].arrays["video"], np.float32).mean(axis=(1, 2, 3)).argmax(axis=1)
    assert set(bars) == {1}, "the middle one of three frames"
    assert "published lists" in Cremad().notes[0]
    assert "group" not in pl.read_parquet(tmp_path / "packed/test/manifest.parquet").columns


def test_without_lists_a_stratified_split_is_drawn(root: Path) -> None:
    write_clips(root)
    items = Cremad().items(root)
    assert items.equals(Cremad().items(root))
    for split, count in [("test", 1), ("validation", 1), ("train", 5)]:
        assert items.filter(split=split)["label"].value_counts()["count"].to_list() == [count] * 6
    assert "drawn here" in Cremad().notes[0]


def test_the_actors_are_those_of_the_votes() -> None:
    actors = [str(1001 + number) for number in range(91)] * 2
    assert by_actor(actors) == cremad_votes.by_actor(actors)
    assert by_actor(actors).count("test") == by_actor(actors).count("validation") == 28


def test_the_defaults_are_the_published_ones() -> None:
    kinds = Cremad().modalities
    assert kinds["audio"].shape == (1, 257, 1250)
    assert kinds["video"].shape == (3, 1, 224, 224)


def test_an_empty_folder_is_answered_with_both_layouts(root: Path) -> None:
    with pytest.raises(FileNotFoundError) as error:
        Cremad().locate()
    for part in ("cremad/AudioWAV is missing", "frames (published", "clips (as handed", "github.com/Cheyney"):
        assert part in str(error.value)
    (root / "AudioWAV").mkdir()
    with pytest.raises(FileNotFoundError, match="cremad/(Image-01-FPS|VideoFlash) is missing"):
        Cremad().locate()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1001_IEO_ANG_XX", r"train\.csv, line 31: 2 columns are needed, got '1001_IEO_ANG_XX'"),
        ("1001_IEO_ANG_XX,ANGRY", r"train\.csv, line 31: unknown emotion 'ANGRY'; did you mean 'ANG'"),
        ("1001_IEO_JOY_XX,HAP", r"unknown emotion of the clip 1001_IEO_JOY_XX: 'JOY'"),
        ("1001_IEO_ANG_XX,HAP", r"line 31: a clip and its own emotion are needed"),
        ("1001-IEO-ANG,ANG", r"'1001-IEO-ANG' is not named ACTOR_SENTENCE_EMOTION_LEVEL"),
    ],
)
def test_a_broken_list_is_named(root: Path, line: str, message: str) -> None:
    write_folders(root)
    path = root / "annotations/train.csv"
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(ValueError, match=message):
        Cremad().items(root)


def test_one_list_alone_is_refused(root: Path) -> None:
    write_folders(root)
    (root / "annotations/test.csv").unlink()
    with pytest.raises(FileNotFoundError, match=r"annotations/test\.csv is missing"):
        Cremad().items(root)


def test_a_missing_clip_is_named_or_skipped(root: Path, tmp_path: Path) -> None:
    write_folders(root)
    (root / f"AudioWAV/{CLIPS[7]}.wav").unlink()
    with pytest.raises(BadData, match=rf"{CLIPS[7]}\.wav: no such file"):
        packed(Cremad(**TINY), tmp_path / "packed")
    splits = packed(Cremad(on_bad="skip", **TINY), tmp_path / "packed")
    assert sum(map(len, splits.values())) == len(CLIPS) - 1
    assert splits[Split.TRAIN].meta.num_skipped == 1


def test_the_whole_pipeline(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_clips(root)
    monkeypatch.chdir(tmp_path)
    metrics = run_stages(tmp_path, {"name": "cremad", "split": "actor", **TINY}, {"audio": FAST, "video": FAST})
    assert set(metrics) >= {"audio", "video", "fused"}
    assert "none in two" in (tmp_path / "reports/report.html").read_text(), "every table says which split it is"
