"""`vggsound`: ten-second clips of 309 sounds whose source can be seen.

VGGSound (Chen et al. 2020; the list CC BY 4.0): https://www.robots.ox.ac.uk/~vgg/data/vggsound/; the clips are
YouTube's users'.
"""

import json
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from bss.data.datasets._collected import TENTH, AudioVisual, Layout, broken, first, hold_out, rows
from bss.errors import InputError
from bss.registry import UnknownName
from bss.types import Split

if TYPE_CHECKING:
    import polars as pl

Row = tuple[str, str, str, str, str]
"""Id, label, split, sound and picture."""
LIST, CODES, VIDEOS = "vggsound.csv", "label_encoding.json", "video|videos"


class VGGSound(AudioVisual):
    """About 168,618 pairs in train and validation and 13,954 in test; what is gone from YouTube is skipped.

    The defaults are those of the published loaders: the sound at 35,400 Hz repeated to 20 s, one frame of 384 pixels;
    theirs is any frame of those at one a second, ours the middle one. Clips with three frames or fewer are left out.
    """

    layouts: ClassVar[Mapping[str, Layout]] = {
        "frames": Layout(
            ("AudioWAV", "Image-01-FPS", "train.csv", "test.csv", CODES),
            "frames (published loaders): AudioWAV/ID.wav, Image-01-FPS/ID/*.jpg, {train,test}.csv with rows "
            "NUMBER,LABEL,/ID, label_encoding.json",
        ),
        "clips": Layout(
            (VIDEOS, LIST),
            "clips (as handed out): vggsound.csv with rows youtube_id,start,label,split, video/ID_START.mp4 with the "
            "start in six digits",
        ),
    }
    origin: ClassVar[str] = "VGGSound comes from https://www.robots.ox.ac.uk/~vgg/data/vggsound/ (list CC BY 4.0)"
    on_bad: Literal["error", "skip"] = "skip"
    """Published: clips that are not there, or have too few frames, are left out."""
    sample_rate: int = Field(default=35400, gt=0)
    image_size: int = Field(default=384, ge=8)
    min_frames: int = Field(default=4, ge=1)

    @property
    def _notes(self) -> tuple[str, ...]:
        """Which clips are left out, and who drew the splits."""
        return (
            "Clips that are not there, or are shorter than four frames at one a second, are left out, as published.",
            TENTH,
        )

    @property
    def classes(self) -> tuple[str, ...]:
        """The labels by their published number, or else sorted."""
        if self.layout(self.root) == "frames":
            return tuple(self._numbers)
        return tuple(sorted({label for _, label, *_ in self._rows}))

    def items(self, root: Path) -> "pl.DataFrame":
        """The listed clips, in the order of the lists."""
        import polars as pl

        return pl.DataFrame(self._rows, schema=["id", "label", "split", "audio", "video"], orient="row")

    @cached_property
    def _numbers(self) -> dict[str, int]:
        """Label -> number, by number."""
        path = self.root / CODES
        try:
            numbers = json.loads(path.read_text(encoding="utf-8"))
            return dict(sorted(numbers.items(), key=lambda pair: int(pair[1])))
        except (AttributeError, TypeError, ValueError) as error:
            raise InputError(f"{path}: an object of labels and numbers is needed: {error}") from None

    @cached_property
    def _rows(self) -> list[Row]:
        root = self.root
        clips = self.layout(root) == "clips"
        listed = list(clip_rows(root) if clips else frame_rows(root, self._numbers))
        labels, splits = [row[1] for row in listed], [row[2] for row in listed]
        held = hold_out(labels, splits, Split.VALIDATION, "validation of vggsound")
        return [(*row[:2], split, *row[3:]) for row, split in zip(listed, held, strict=True)]


def clip_rows(root: Path) -> Iterator[Row]:
    """The rows of the publisher's list."""
    folder, path = first(root, VIDEOS), root / LIST
    for number, (video, start, label, split, *_) in rows(path, 4):
        if not start.isdecimal() or split not in ("train", "test"):
            raise broken(path, number, f"{video},{start},{label},{split}", "youtube_id,start,label,train or test")
        clip = f"{video}_{int(start):06}"
        yield clip, label, Split(split).value, f"{folder}/{clip}.mp4", f"{folder}/{clip}.mp4"


def frame_rows(root: Path, numbers: Mapping[str, int]) -> Iterator[Row]:
    """The rows of the published loaders' lists; of the third column they drop the first character."""
    for split in (Split.TRAIN, Split.TEST):
        path = root / f"{split}.csv"
        for number, (_, label, name, *_) in rows(path, 3):
            if label not in numbers:
                raise InputError(f"{path}, line {number}: {UnknownName('label', label, numbers)}")
            clip = name[1:]
            yield clip, label, split.value, f"AudioWAV/{clip}.wav", f"Image-01-FPS/{clip}"
