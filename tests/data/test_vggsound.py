"""VGGSound from the publisher's list and clips, and from the frames of the published loaders."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bss.data.datasets.vggsound import VGGSound
from bss.data.packing.check import BadData
from bss.types import Split
from tests.helpers.media import write_frames, write_video, write_wav
from tests.helpers.stages import FAST, packed, raw_root, run_stages

CLASSES = ("air horn", "people eating, crisps")
TINY: dict[str, Any] = {
    "sample_rate": 8000, "seconds": 0.8, "n_fft": 64, "hop_length": 64, "image_size": 16, "fps": 10.0,
}  # fmt: skip
SPLITS = ["train"] * 12 + ["test"] * 4


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return raw_root("vggsound", tmp_path, monkeypatch)


def write_official(root: Path) -> None:
    rows = [f'-tube_id_{seed:02},{30 * seed},"{CLASSES[seed % 2]}",{split}' for seed, split in enumerate(SPLITS)]
    (root / "vggsound.csv").write_text("\n".join(rows) + "\n")
    for seed in range(len(SPLITS)):
        write_video(root / f"video/-tube_id_{seed:02}_{30 * seed:06}.mp4", seed, 6)


def write_folders(root: Path) -> None:
    (root / "label_encoding.json").write_text(json.dumps({CLASSES[0]: 1, CLASSES[1]: 0}))
    for split in ("train", "test"):
        seeds = [seed for seed, name in enumerate(SPLITS) if name == split]
        rows = [f'{seed},"{CLASSES[seed % 2]}",/clip_{seed}' for seed in seeds]
        (root / f"{split}.csv").write_text("\n".join(rows))
        for seed in seeds:
            write_wav(root / f"AudioWAV/clip_{seed}.wav", seed)
            write_frames(root / f"Image-01-FPS/clip_{seed}", seed, 5)


def test_the_clips_and_the_list_as_handed_out(root: Path, tmp_path: Path) -> None:
    write_official(root)
    splits = packed(VGGSound(**TINY), tmp_path / "packed")
    assert [len(splits[split]) for split in Split] == [10, 2, 4]
    assert splits[Split.TEST].ids == tuple(f"-tube_id_{seed}_000{30 * seed}" for seed in range(12, 16))
    assert splits[Split.TEST].labels.tolist() == [0, 1, 0, 1]
    assert splits[Split.TEST].meta.classes == CLASSES
    assert splits[Split.TEST].arrays["audio"].shape == (4, 1, 33, 101)
    assert splits[Split.TEST].arrays["video"].shape == (4, 3, 1, 16, 16)
    assert set(splits[Split.VALIDATION].labels) == {0, 1}
    assert "tenth" in VGGSound().notes[1]


def test_the_frames_and_lists_of_the_published_loaders(root: Path, tmp_path: Path) -> None:
    write_folders(root)
    splits = packed(VGGSound(**TINY), tmp_path / "packed")
    assert [len(splits[split]) for split in Split] == [10, 2, 4]
    assert splits[Split.TEST].ids == tuple(f"clip_{seed}" for seed in range(12, 16))
    assert splits[Split.TEST].meta.classes == tuple(reversed(CLASSES)), "by the published number"
    assert splits[Split.TEST].labels.tolist() == [1, 0, 1, 0]
    bars = splits[Split.TEST].arrays["video"].astype(np.float32).mean(axis=(1, 2, 3)).argmax(axis=1)
    assert set(bars) == {2}, "the middle one of five frames"


def test_the_defaults_are_the_published_ones() -> None:
    kinds = VGGSound().modalities
    assert kinds["audio"].shape == (1, 257, 1 + 20 * 35400 // 353)
    assert kinds["video"].shape == (3, 1, 384, 384)


def test_a_clip_that_is_gone_is_skipped_or_named(root: Path, tmp_path: Path) -> None:
    write_official(root)
    (root / "video/-tube_id_03_000090.mp4").unlink()
    assert sum(map(len, packed(VGGSound(**TINY), tmp_path / "packed").values())) == 15
    with pytest.raises(BadData, match=r"video/-tube_id_03_000090\.mp4: no such file"):
        packed(VGGSound(on_bad="error", **TINY), tmp_path / "packed")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("abc,30,air horn", "line 17: 4 columns are needed"),
        ("abc,soon,air horn,train", "line 17: youtube_id,start,label,train or test are needed"),
        ("abc,30,air horn,val", "line 17: youtube_id,start,label,train or test are needed"),
    ],
)
def test_a_broken_line_is_named(root: Path, line: str, message: str) -> None:
    write_official(root)
    path = root / "vggsound.csv"
    path.write_text(path.read_text() + line)
    with pytest.raises(ValueError, match=rf"vggsound\.csv, {message}"):
        VGGSound().items(root)


def test_an_unknown_label_and_a_broken_encoding_are_named(root: Path) -> None:
    write_folders(root)
    (root / "test.csv").write_text("0,air hron,/clip_0\n")
    with pytest.raises(ValueError, match=r"test\.csv, line 1: unknown label 'air hron'; did you mean 'air horn'"):
        VGGSound().items(root)
    (root / "label_encoding.json").write_text("[1, 2]")
    with pytest.raises(ValueError, match=r"label_encoding\.json: an object of labels and numbers is needed"):
        VGGSound().items(root)


def test_a_missing_list_is_answered_with_both_layouts(root: Path) -> None:
    write_official(root)
    (root / "vggsound.csv").unlink()
    with pytest.raises(FileNotFoundError, match=r"vggsound/vggsound\.csv is missing") as error:
        VGGSound().locate()
    assert "frames (published" in str(error.value)
    assert "clips (as handed" in str(error.value)


@pytest.mark.nightly
def test_the_whole_pipeline(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_official(root)
    monkeypatch.chdir(tmp_path)
    metrics = run_stages(tmp_path, {"name": "vggsound", **TINY}, {"audio": FAST, "video": FAST})
    assert set(metrics) >= {"audio", "video", "fused"}
