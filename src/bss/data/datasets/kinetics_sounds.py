"""`kinetics_sounds`: ten-second clips of 31 actions that can be seen and heard.

Kinetics-Sounds (Arandjelovic and Zisserman 2017) is the part of Kinetics-400 with such classes. The lists of
Kinetics (CC BY 4.0): https://github.com/cvdfoundation/kinetics-dataset; the clips are YouTube's users'.
"""

from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from bss.data.datasets._collected import TENTH, AudioVisual, Layout, broken, first, hold_out, lines, records
from bss.types import Split

if TYPE_CHECKING:
    import polars as pl

Row = tuple[str, str, str, str, str]
"""Id, label, split, sound and picture."""
FOLDERS = ("train_wav", "train_img/Image-01-FPS", "test_wav", "test_img/Image-01-FPS")
CLASSES = "classes.txt"
OFFICIAL = {Split.TRAIN: "train.csv", Split.VALIDATION: "validate.csv|val.csv", Split.TEST: "test.csv"}


class KineticsSounds(AudioVisual):
    """About 15,000 / 1,900 / 1,900 pairs; what is gone from YouTube is skipped and counted.

    The defaults are those of the published loaders: the sound at 35,400 Hz repeated to 10 s, three frames of those
    at one a second; theirs are any three, ours the middles of three equal parts. Clips with three frames or fewer
    are left out, as theirs are.
    """

    layouts: ClassVar[Mapping[str, Layout]] = {
        "frames": Layout(
            (*FOLDERS, "annotations/train.csv", "annotations/test.csv"),
            "frames (published loaders): {train,test}_wav/ID.wav, {train,test}_img/Image-01-FPS/ID/*.jpg, "
            "annotations/{train,test}.csv with the columns label,youtube_id",
        ),
        "clips": Layout(
            ("videos", CLASSES, *OFFICIAL.values()),
            "clips (as handed out): videos/**/ID_START_END.mp4, {train,validate,test}.csv of Kinetics with the "
            "columns label,youtube_id,time_start,time_end, classes.txt with a class a line",
        ),
    }
    origin: ClassVar[str] = "Kinetics comes from https://github.com/cvdfoundation/kinetics-dataset (lists CC BY 4.0)"
    on_bad: Literal["error", "skip"] = "skip"
    """Published: clips that are not there, or have too few frames, are left out."""
    sample_rate: int = Field(default=35400, gt=0)
    seconds: float = Field(default=10.0, gt=0)
    num_frames: int = Field(default=3, ge=1)
    min_frames: int = Field(default=4, ge=1)

    @property
    def _notes(self) -> tuple[str, ...]:
        """Which clips are left out, and who drew the splits."""
        left_out = (
            "Clips that are not there, or are shorter than four frames at one a second, are left out, as published."
        )
        listed = (self.root / CLASSES).is_file() or (self.root / "annotations/val.csv").is_file()
        return left_out, "The three splits are those of the lists." if listed else TENTH

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes of the list, or else the labels of the training list, sorted."""
        if self.layout(self.root) == "clips":
            return tuple(sorted(name.strip() for _, name in lines(self.root / CLASSES)))
        return tuple(sorted({label for _, label, split, *_ in self._rows if split != Split.TEST}))

    def items(self, root: Path) -> "pl.DataFrame":
        """The listed clips of the classes, in the order of the lists."""
        import polars as pl

        return pl.DataFrame(self._rows, schema=["id", "label", "split", "audio", "video"], orient="row")

    @cached_property
    def _rows(self) -> list[Row]:
        root = self.root
        if self.layout(root) == "clips":
            return list(official_rows(root, set(self.classes)))
        rows = list(frame_rows(root))
        if any(split == Split.VALIDATION for _, _, split, *_ in rows):
            return rows
        labels, splits = [row[1] for row in rows], [row[2] for row in rows]
        held = hold_out(labels, splits, Split.VALIDATION, "validation of kinetics_sounds")
        return [(*row[:2], split, *row[3:]) for row, split in zip(rows, held, strict=True)]


def frame_rows(root: Path) -> Iterator[Row]:
    """The rows of annotations/{train,val,test}.csv; val where it is there."""
    for split, part in [(Split.TRAIN, "train"), (Split.VALIDATION, "val"), (Split.TEST, "test")]:
        path = root / "annotations" / f"{part}.csv"
        if split == Split.VALIDATION and not path.is_file():
            continue
        for number, row in records(path, ("label", "youtube_id")):
            clip, label = row["youtube_id"], row["label"]
            if not clip or not label:
                raise broken(path, number, f"{label},{clip}", "a label and a youtube_id")
            yield clip, label, split.value, f"{part}_wav/{clip}.wav", f"{part}_img/Image-01-FPS/{clip}"


def official_rows(root: Path, classes: set[str]) -> Iterator[Row]:
    """The rows of Kinetics' own lists that are of these classes, with their clips wherever below videos/ they are."""
    there = {path.stem: path.relative_to(root).as_posix() for path in sorted((root / "videos").rglob("*.mp4"))}
    for split, need in OFFICIAL.items():
        path = root / str(first(root, need))
        for number, row in records(path, ("label", "youtube_id", "time_start", "time_end")):
            if row["label"] not in classes:
                continue
            start, end = row["time_start"], row["time_end"]
            if not (start.isdecimal() and end.isdecimal()):
                raise broken(path, number, f"{start},{end}", "seconds of start and end")
            name = f"{row['youtube_id']}_{int(start):06}_{int(end):06}"
            clip = there.get(name) or there.get(row["youtube_id"], f"videos/{name}.mp4")
            yield row["youtube_id"], row["label"], split.value, clip, clip
