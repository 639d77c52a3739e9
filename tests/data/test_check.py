"""Bad input: each is reported with its file and row, in error as in skip."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import soundfile
from PIL import Image as Pictures

from bss.data.kinds.kind import Kind
from bss.data.packed import Meta, open_split
from bss.data.packing.check import BadData
from bss.data.packing.pack import examine, pack
from bss.types import Split
from tests.helpers import ROOT
from tests.helpers.media import encode
from tests.helpers.pairs import NUM_ROWS, make_pairs, manifest, rows, write

ROW = 21  # of the bad pair, clip 20, in train


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_pairs(tmp_path)


def corrupt_sound(folder: Path) -> None:
    (folder / "20.wav").write_bytes((folder / "20.wav").read_bytes()[:20])


def truncated_picture(folder: Path) -> None:
    Pictures.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(folder / "20.jpg")
    (folder / "20.jpg").write_bytes((folder / "20.jpg").read_bytes()[:800])
    put(folder, picture="20.jpg")


def video_without_sound(folder: Path) -> None:
    encode(folder / "20.mp4", [np.zeros((16, 16, 3), np.uint8)] * 3)
    put(folder, sound="20.mp4")


def broken_video(folder: Path) -> None:
    (folder / "20.mp4").write_bytes(b"\0\0\0\x18ftypmp42" + bytes(400))
    put(folder, sound="20.mp4")


def empty_file(folder: Path) -> None:
    (folder / "20.wav").write_bytes(b"")


def no_file(folder: Path) -> None:
    (folder / "20.wav").unlink()


def outside(folder: Path) -> None:
    put(folder, sound="../20.wav")


def absolute(folder: Path) -> None:
    put(folder, sound="/etc/passwd")


def loop_of_links(folder: Path) -> None:
    (folder / "20.wav").unlink()
    (folder / "20.wav").symlink_to(folder / "loop.wav")
    (folder / "loop.wav").symlink_to(folder / "20.wav")


def a_folder(folder: Path) -> None:
    (folder / "20.wav").unlink()
    (folder / "20.wav").mkdir()


def silence(folder: Path) -> None:
    soundfile.write(folder / "20.wav", np.zeros(800), 8000)


def one_colour(folder: Path) -> None:
    Pictures.new("RGB", (8, 8), (200, 10, 10)).save(folder / "20.png")


def not_finite(folder: Path) -> None:
    soundfile.write(folder / "20.wav", np.full(800, np.inf), 8000, subtype="FLOAT")


def the_same_as_in_test(folder: Path) -> None:
    (folder / "20.wav").write_bytes((folder / "3.wav").read_bytes())


def put(folder: Path, **values: str) -> None:
    changed = [
        pl.when(pl.col("id") == "clip 20").then(pl.lit(value)).otherwise(name).alias(name)
        for name, value in values.items()
    ]
    write(folder, rows().with_columns(changed))


CASES: list[tuple[Callable[[Path], None], str]] = [
    (corrupt_sound, r"20\.wav: (is no readable sound file|ends early): .+"),
    (truncated_picture, r"20\.jpg: is no readable image: .+"),
    (video_without_sound, r"20\.mp4: has no audio"),
    (broken_video, r"20\.mp4: is no readable sound file: .+"),
    (empty_file, r"20\.wav: the file is empty"),
    (no_file, r"20\.wav: no such file"),
    (outside, r"\.\./20\.wav: leads out of .+"),
    (absolute, r"/etc/passwd: leads out of .+"),
    (loop_of_links, r"20\.wav: too many levels of symbolic links"),
    (a_folder, r"20\.wav: is a directory"),
    (silence, r"20\.wav: silent \(preprocess.allow: \[silent\] takes it\)"),
    (one_colour, r"20\.png: one colour \(preprocess.allow: \[one_colour\] takes it\)"),
    (not_finite, r"20\.wav: holds values that are not finite"),
    (the_same_as_in_test, r"20\.wav: the same content as 3\.wav of row 4, in train and in test"),
]


@pytest.mark.parametrize(("spoil", "message"), CASES, ids=[spoil.__name__ for spoil, _ in CASES])
def test_a_bad_file_is_reported_with_its_row_and_can_be_skipped(
    folder: Path,
    spoil: Callable[[Path], None],
    message: str,
) -> None:
    spoil(folder)
    with pytest.raises(
        BadData, match=rf"1 row cannot be used\nrow {ROW} \(clip 20\), {message}\nput them right"
    ) as refused:
        pack(manifest(folder), folder / "packed")
    assert len(str(refused.value).splitlines()) == 3
    assert not (folder / "packed").exists()
    assert examine(manifest(folder), folder / "packed").findings == list(refused.value.findings)
    pack(manifest(folder, on_bad="skip"), folder / "packed")
    train = open_split(folder / "packed", "train")
    assert (len(train), "clip 20" in train.ids, Meta.read(folder / "packed").num_skipped) == (27, False, 1)
    skipped = pl.read_parquet(folder / "packed/skipped.parquet")
    assert skipped.select("row", "id").rows() == [(ROW, "clip 20")]
    kind = manifest(folder).modalities["picture"]
    assert (train.arrays["picture"][8] == kind.read(folder / "21.png")).all(), "the rows behind it have moved up"


def test_rows_that_are_left_out_are_counted_once(folder: Path) -> None:
    (folder / "20.wav").unlink()
    (folder / "20.png").unlink()
    pack(manifest(folder, on_bad="skip"), folder / "packed")
    meta = Meta.read(folder / "packed")
    assert meta.num_skipped == 1
    assert sum(meta.num_pairs.values()) == 39


def test_what_is_allowed_is_no_fault(folder: Path) -> None:
    for spoil in (silence, one_colour):
        spoil(folder)
    (folder / "21.wav").write_bytes((folder / "3.wav").read_bytes())
    findings, _ = examine(manifest(folder), folder / "packed")
    faults = [(finding.row, finding.what.split()[0]) for finding in findings]
    assert faults == [(21, "one"), (21, "silent"), (22, "the")]
    pack(manifest(folder, allow=["silent", "one_colour", "same_content"]), folder / "packed")
    assert len(open_split(folder / "packed", "train")) == 28


def test_many_findings_are_a_short_page(folder: Path) -> None:
    for row in range(30):
        (folder / f"{row}.wav").unlink()
    with pytest.raises(BadData) as refused:
        pack(manifest(folder), folder / "packed")
    lines = str(refused.value).splitlines()
    assert (len(lines), lines[-2]) == (23, "... and 10 more")
    assert max(map(len, lines)) < 80


def test_a_class_that_is_skipped_away_is_reported(folder: Path) -> None:
    for row in range(12, NUM_ROWS, 2):
        (folder / f"{row}.wav").unlink()
    with pytest.raises(ValueError, match=r"no training pair of the classes \['sad'\]"):
        pack(manifest(folder, on_bad="skip"), folder / "packed")


def test_what_was_put_right_is_read_anew_and_the_rest_is_not(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = folder / "whole"
    pack(manifest(folder), whole)
    content = (folder / "20.wav").read_bytes()
    corrupt_sound(folder)
    with pytest.raises(BadData):
        pack(manifest(folder), folder / "packed")
    (folder / "20.wav").write_bytes(content)
    os.utime(folder / "20.wav", (1, 1))
    read: list[str] = []
    kind = type(manifest(folder).modalities["sound"])
    original = kind.read

    def counted(self: Kind, value: Path) -> np.ndarray:
        read.append(value.name)
        return original(self, value)

    monkeypatch.setattr(kind, "read", counted)
    pack(manifest(folder), folder / "packed")
    assert len(read) == 28, "the block of the training split, not the others"
    for path in whole.rglob("*"):
        if path.is_file():
            assert path.read_bytes() == (folder / "packed" / path.relative_to(whole)).read_bytes(), path


@pytest.mark.parametrize("num_workers", [pytest.param(1, marks=pytest.mark.nightly), 2])
def test_killed_packing_goes_on_and_gives_the_same_bytes(folder: Path, num_workers: int) -> None:
    import subprocess
    import sys
    import time

    program = f"""
import sys
from pathlib import Path
import bss.data.packing.blocks as packing
from bss.data.kinds.image import Image
from tests.helpers.pairs import manifest
packing.NUM_VALUES, packing.SECONDS_ALONE, packing.SECONDS_WORTH = 4, 0.0, 0.0
import bss.data.packing.pack as module
module.NUM_VALUES = 4
from bss.data.packing.pack import pack
if __name__ == "__main__":
    pack(manifest(Path({str(folder)!r})), Path({str(folder)!r}) / sys.argv[1], {num_workers})
"""
    script = folder / "script.py"
    script.write_text(program)
    root = ROOT
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(root), *sys.path])}

    def run(name: str, seconds: float | None) -> int | None:
        process = subprocess.Popen([sys.executable, str(script), name], env=environment)
        try:
            return process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            return None

    assert run("whole", None) == 0
    draft = folder / ".packing-packed"
    process = subprocess.Popen([sys.executable, str(script), "packed"], env=environment)
    while process.poll() is None and len(list(draft.glob("*/*.json"))) < 3:
        time.sleep(0.005)
    process.kill()
    process.wait()
    assert not (folder / "packed").exists() or process.returncode == 0
    assert run("packed", None) == 0
    files = [path for path in (folder / "whole").rglob("*") if path.is_file()]
    assert len(files) == 11
    for path in files:
        assert path.read_bytes() == (folder / "packed" / path.relative_to(folder / "whole")).read_bytes(), path
    assert not draft.exists()
    assert {split: len(open_split(folder / "packed", split)) for split in Split} == {
        "train": 28,
        "validation": 4,
        "test": 8,
    }
