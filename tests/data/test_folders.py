"""Folders of frames: the same in two splits, and what cannot be opened; paths of rows that no stage has packed."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image as Pictures

from bss.data.packed import Meta, open_split
from bss.data.packing.check import BadData
from bss.data.packing.pack import pack
from bss.data.packing.unpacked import Rows
from bss.errors import InputError
from tests.helpers.pairs import NUM_ROWS, PICTURE, make_pairs, manifest, rows, write

VIDEO = {"name": "video", "size": 4, "num_frames": 2}
KINDS = {"picture": PICTURE, "clip": VIDEO}
ROW = 21  # in train; row 4 is in test


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The pairs of pictures, and a folder of three frames for each."""
    make_pairs(tmp_path)
    for row in range(NUM_ROWS):
        (tmp_path / f"clip{row}").mkdir()
        for frame in range(3):
            pixels = np.random.default_rng([row, frame]).integers(0, 256, (4, 4, 3), dtype=np.uint8)
            Pictures.fromarray(pixels).save(tmp_path / f"clip{row}/{frame}.bmp")  # all of one size
    write(tmp_path, listed())
    return tmp_path


def listed(**changed: str) -> pl.DataFrame:
    """The table; what is named takes the place of a folder."""
    return rows().with_columns(clip=pl.Series([changed.get(f"clip{row}", f"clip{row}") for row in range(NUM_ROWS)]))


def same_folder(folder: Path) -> None:
    write(folder, listed(clip20="clip3"))


def copied(folder: Path) -> None:
    shutil.rmtree(folder / "clip20")
    shutil.copytree(folder / "clip3", folder / "clip20")


def copied_under_other_names(folder: Path) -> None:
    for frame in range(3):
        (folder / f"clip20/{frame}.bmp").unlink()
        shutil.copy(folder / f"clip3/{frame}.bmp", folder / f"clip20/frame {frame}.bmp")
    (folder / "clip20/notes.txt").write_text("no frame")


def linked(folder: Path) -> None:
    shutil.rmtree(folder / "clip20")
    (folder / "clip20").symlink_to(folder / "clip3")


@pytest.mark.parametrize("spoil", [same_folder, copied, copied_under_other_names, linked])
def test_the_same_frames_in_two_splits_are_found(folder: Path, spoil: Callable[[Path], None]) -> None:
    spoil(folder)
    source = "clip3" if spoil is same_folder else "clip20"
    message = rf"row {ROW} \(clip 20\), {source}: the same content as clip3 of row 4, in train and in test\n"
    with pytest.raises(BadData, match=rf"1 row cannot be used\n{message}"):
        pack(manifest(folder, kinds=KINDS), folder / "packed")
    pack(manifest(folder, kinds=KINDS, on_bad="skip"), folder / "packed")
    assert "clip 20" not in open_split(folder / "packed", "train").ids
    pack(manifest(folder, kinds=KINDS, allow=["same_content"]), folder / "packed")


def one_frame_differs(folder: Path) -> None:
    copied(folder)
    shutil.copy(folder / "clip5/2.bmp", folder / "clip20/2.bmp")


def one_frame_less(folder: Path) -> None:
    copied(folder)
    (folder / "clip20/2.bmp").unlink()


def in_another_order(folder: Path) -> None:
    copied(folder)
    (folder / "clip20/2.bmp").rename(folder / "clip20/00.bmp")


@pytest.mark.parametrize("change", [one_frame_differs, one_frame_less, in_another_order])
def test_other_frames_are_no_such_fault(folder: Path, change: Callable[[Path], None]) -> None:
    change(folder)
    pack(manifest(folder, kinds=KINDS), folder / "packed")
    assert len(open_split(folder / "packed", "train")) == 28


def dead_link(path: Path) -> None:
    path.symlink_to("nowhere.bmp")


def loop_of_links(path: Path) -> None:
    path.symlink_to(path)


def pipe(path: Path) -> None:
    os.mkfifo(path)


UNOPENABLE = [
    (dead_link, "no such file"),
    (loop_of_links, "too many levels of symbolic links"),
    (pipe, "is no regular file"),
]


@pytest.mark.parametrize(("make", "message"), UNOPENABLE)
def test_a_frame_that_cannot_be_opened_is_a_finding_of_its_row(
    folder: Path, make: Callable[[Path], None], message: str
) -> None:
    (folder / "clip20/1.bmp").unlink()
    make(folder / "clip20/1.bmp")
    with pytest.raises(BadData, match=rf"1 row .*\nrow {ROW} \(clip 20\), clip20: 1\.bmp in it: {message}\n"):
        pack(manifest(folder, kinds=KINDS), folder / "packed")
    pack(manifest(folder, kinds=KINDS, on_bad="skip"), folder / "packed")
    assert len(open_split(folder / "packed", "train")) == 27


@pytest.mark.parametrize("make", [make for make, _ in UNOPENABLE])
def test_what_is_no_frame_may_be_anything(folder: Path, make: Callable[[Path], None]) -> None:
    make(folder / "clip20/notes.txt")
    pack(manifest(folder, kinds=KINDS), folder / "packed")
    assert len(open_split(folder / "packed", "train")) == 28


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("x" * 300, "file name too long"),
        ("pipe", "is no regular file"),
        ("nowhere", "no such file"),
        ("empty.bmp", "the file is empty"),
        ("loop", "too many levels of symbolic links"),
        ("clip7", "2.bmp in it: no such file"),
    ],
)
def test_a_path_of_a_row_for_a_model_is_looked_at_before_it_is_read(folder: Path, name: str, message: str) -> None:
    pack(manifest(folder, kinds=KINDS), folder / "packed")
    pipe(folder / "pipe")
    loop_of_links(folder / "loop")
    (folder / "empty.bmp").touch()
    (folder / "clip7/2.bmp").unlink()
    dead_link(folder / "clip7/2.bmp")
    kinds, meta = manifest(folder, kinds=KINDS).modalities, Meta.read(folder / "packed")
    whole = Rows(listed()[:2], folder / "pairs.csv", meta, kinds)
    assert whole.read(0, 2)["clip"].shape == (2, 3, 2, 4, 4)
    with pytest.raises(InputError, match=rf"1 row cannot be used\nrow 2 \(clip 1\), .*{name}: {message}$"):
        Rows(listed(clip1=name)[:2], folder / "pairs.csv", meta, kinds)
