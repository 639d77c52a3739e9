"""NVGesture with and without the optical flow, between the marks of its lists."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from bss.data.datasets.nvgesture import NVGesture
from bss.data.kinds.video import Video
from bss.data.packing.check import BadData
from bss.types import Split
from tests.helpers.media import write_video
from tests.helpers.stages import FAST, packed, raw_root, run_stages

TINY: dict[str, Any] = {"image_size": 16, "num_frames": 4}
NUM_CLASSES = 25
FAR = "duo_left:duo_left:0:80 duo_right:duo_right:0:80 duo_disparity:duo_disparity:0:80"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return raw_root("nvgesture", tmp_path, monkeypatch)


def write(root: Path, flow: str | None = None, marks: str = "2:8", num_tested: int = NUM_CLASSES) -> None:
    """Each class twice for training and once for the test; videos of ten frames."""
    for split, subjects in [("train", (1, 2)), ("test", (3,))]:
        rows = []
        for label in range(1, (num_tested if split == "test" else NUM_CLASSES) + 1):
            for subject in subjects:
                folder = f"Video_data/class_{label:02}/subject{subject}_r0"
                rows.append(f"path:./{folder} depth:sk_depth:{marks} color:sk_color:{marks} {FAR} label:{label}")
                for number, sensor in enumerate(("color", "depth")):
                    write_video(root / folder / f"sk_{sensor}.avi", 100 * subject + 2 * label + number, 10)
        (root / f"nvgesture_{split}_correct_v2.lst").write_text(" \n".join(rows) + " \n")
        for number in range(len(rows) if flow else 0):
            path = root / str(flow) / split / f"{number}.npy"
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, np.full((6, 20, 20, 2), number / 10 + 9 * (split == "train"), np.float32))


def test_the_videos_as_handed_out(root: Path, tmp_path: Path) -> None:
    write(root)
    splits = packed(NVGesture(flow=False, **TINY), tmp_path / "packed")
    assert [len(splits[split]) for split in Split] == [25, 25, 25]
    assert splits[Split.TEST].ids[0] == "class_01/subject3_r0"
    assert splits[Split.TEST].labels.tolist() == list(range(25))
    assert splits[Split.TEST].arrays["rgb"].shape == (25, 3, 4, 16, 16)
    assert splits[Split.TEST].arrays["depth"].shape == (25, 1, 4, 16, 16)
    manifest = pl.read_parquet(tmp_path / "packed/test/manifest.parquet")
    assert set(manifest["subject"]) == {"subject3"}
    assert manifest["depth"][24] == "Video_data/class_25/subject3_r0/sk_depth.avi"


@pytest.mark.parametrize(("rule", "bars"), [("centre", [3, 4, 5, 6]), ("first", [2, 3, 4, 5])])
def test_the_frames_are_those_between_the_marks(root: Path, tmp_path: Path, rule: Any, bars: list[int]) -> None:
    write(root)
    splits = packed(NVGesture(flow=False, rule=rule, **TINY), tmp_path / "packed")
    seen = splits[Split.TEST].arrays["rgb"].astype(np.float32).mean(axis=(1, 3)).argmax(axis=-1)
    assert (seen == bars).all()


def test_spans_are_not_in_seconds() -> None:
    with pytest.raises(ValueError, match="spans are counted in the frames of the file; leave fps out"):
        Video(size=8, num_frames=2, fps=1.0, spans={"a.avi": (0, 2)})


@pytest.mark.parametrize("folder", ["flow_data", "Video_data/flow_data"])
def test_the_flow_of_the_published_loaders(root: Path, tmp_path: Path, folder: str) -> None:
    write(root, folder)
    splits = packed(NVGesture(**TINY), tmp_path / "packed")
    assert splits[Split.TEST].arrays["flow"].shape == (25, 2, 4, 16, 16)
    found = splits[Split.TEST].arrays["flow"][:, 0, 0, 0, 0]
    np.testing.assert_allclose(found, np.arange(25) / 10, atol=0.01)
    manifest = pl.read_parquet(tmp_path / "packed/train/manifest.parquet")
    assert manifest["flow"][0] in (f"{folder}/train/0.npy", f"{folder}/train/1.npy"), "the other one is validation"


def test_without_flow_it_says_how_to_go_on(root: Path) -> None:
    write(root)
    with pytest.raises(FileNotFoundError, match=r"flow_data is missing.*set preprocess\.flow: false"):
        NVGesture().locate()
    assert NVGesture(flow=False).locate() == root
    assert list(NVGesture().modalities) == ["rgb", "depth", "flow"]


def test_the_modalities_are_known_before_the_data_are_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BSS_DATA", str(tmp_path / "nowhere"))
    kinds = NVGesture().modalities
    assert kinds["rgb"].shape == (3, 64, 224, 224)
    assert kinds["flow"].shape == (2, 64, 224, 224)
    with pytest.raises(FileNotFoundError, match=r"nvgesture_train_correct_v2\.lst is missing") as error:
        NVGesture().locate()
    for part in ("as handed out", "published loaders", "nvidia"):
        assert part in str(error.value)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("path:./Video_data/class_01/a depth:sk_depth:0:80 label:1", "path:FOLDER depth:FILE:0:80"),
        ("path:./Video_data/class_01/a depth:sk_depth:0:80 color:sk_color:0 label:1", "path:FOLDER"),
        ("path:./Video_data/class_01/a depth:sk_depth:0:80 color:sk_color:0:80 label:26", r"a label of 1 \.\. 25"),
        ("path:./Video_data/class_01/a depth:sk_depth:9:9 color:sk_color:0:80 label:1", r"frames from START to END"),
    ],
)
def test_a_broken_line_is_named(root: Path, line: str, message: str) -> None:
    write(root)
    path = root / "nvgesture_test_correct_v2.lst"
    path.write_text(path.read_text() + line)
    with pytest.raises(ValueError, match=rf"test_correct_v2\.lst, line 26: .*{message}"):
        NVGesture(flow=False).items(root)


def test_a_missing_video_and_marks_beyond_the_end_are_named(root: Path, tmp_path: Path) -> None:
    write(root)
    missing = "Video_data/class_03/subject3_r0/sk_depth.avi"
    (root / missing).unlink()
    with pytest.raises(BadData, match=rf"{missing}: no such file"):
        packed(NVGesture(flow=False, **TINY), tmp_path / "packed")
    write(root, marks="20:30")
    with pytest.raises(BadData, match=r"sk_color\.avi: has 0 frames, 1 are needed"):
        packed(NVGesture(flow=False, **TINY), tmp_path / "packed")


@pytest.mark.nightly
def test_the_whole_pipeline(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(root, "flow_data", num_tested=3)
    monkeypatch.chdir(tmp_path)
    metrics = run_stages(tmp_path, {"name": "nvgesture", **TINY}, {"rgb": FAST, "depth": FAST, "flow": FAST})
    assert set(metrics) >= {"rgb", "depth", "flow", "fused"}
