"""Moving pictures as a fixed number of frames."""

from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from bss.data.kinds import _media as media
from bss.data.kinds._content import named
from bss.data.kinds._picture import from_file, pictures_in
from bss.data.kinds.image import Image
from bss.data.kinds.kind import Exhibit, Kind, Size
from bss.errors import InputError

if TYPE_CHECKING:
    from PIL.Image import Image as Picture


class Video(Kind):
    """A video file, or a folder of frames in the order of their names -> (channels, frames, height, width), 0 .. 255.

    Of the frames that are there `rule` takes `num_frames`; where there are fewer, the last one comes again.
    """

    encoder: ClassVar[str] = "resnet18"
    constant: ClassVar[str | None] = "one_colour"
    example: ClassVar[Mapping[str, Any]] = {"size": 8, "num_frames": 2}

    size: Size
    """Pixels: height and width, or one number for both."""
    num_frames: int = Field(ge=1)
    """Frames of a sample."""
    fps: float | None = Field(default=None, gt=0)
    """Frames a second that are read from a video file; all of them where left out, as from a folder."""
    rule: Literal["uniform", "first", "centre"] = "uniform"
    """Frames taken: the middle of each of `num_frames` equal parts, the first ones, or those around the middle."""
    min_frames: int = Field(default=1, ge=1)
    """Least frames of a video; one of fewer is refused."""
    channels: Literal[1, 3] = 3
    """1 grey, 3 red, green and blue."""
    spans: dict[str, Annotated[tuple[int, int], Field(strict=False)]] = Field(default_factory=dict)
    """Path of a video file -> its first frame that counts, and the one after the last; without an entry all count."""

    @model_validator(mode="after")
    def _spans_are_of_frames(self) -> "Video":
        if self.spans and self.fps is not None:
            raise InputError("spans are counted in the frames of the file; leave fps out")
        return self

    @property
    def shape(self) -> tuple[int, ...]:
        """(channels, frames, height, width)."""
        channels, height, width = self._image.shape
        return channels, self.num_frames, height, width

    @property
    def dtype(self) -> type[np.generic]:
        """Bytes."""
        return np.uint8

    def recalled(self, shape: tuple[int, ...], tokens: tuple[str, ...] | None) -> Self:
        """The kind without the spans, which are of single files."""
        return type(self)(**{**dict(self), "spans": {}})

    def read(self, value: Any) -> np.ndarray:
        """The frames of the video at path `value`, or of its content `{"bytes": ...}`.

        Raises:
            FileNotFoundError: there is no such file or folder.
            InputError: it cannot be decoded, or has fewer than `min_frames` frames.
        """
        return np.stack([self._image.pixels(picture) for picture in self._pictures(value)], axis=1)

    def exhibit(self, value: Any) -> Exhibit:
        """The middle one of the frames that are read, as a PNG."""
        pictures = self._pictures(value)
        return self._image.shown(pictures[len(pictures) // 2])

    def is_constant(self, array: np.ndarray) -> bool:
        """Whether every pixel of every frame has the same colour."""
        return bool((array == array[:, :1, :1, :1]).all())

    @property
    def _image(self) -> Image:
        return Image(size=self.size, channels=self.channels)

    def _pictures(self, value: Any) -> list["Picture"]:
        path = value if isinstance(value, Mapping) else Path(value)
        if isinstance(path, Path) and path.is_dir():
            files = pictures_in(path)
            return [from_file(files[place], self._image.shape[1:]) for place in self._places(len(files), path)]
        if self.fps is not None:
            places = self._places(max(1, round(media.seconds(path) * self.fps)), path)
            return [media.picture(frame) for frame in media.frames(path, [place / self.fps for place in places])]
        start, end = self.spans.get(named(path), (0, None))
        num_there = sum(1 for _ in islice(media.frames(path), start, end))
        places = [start + place for place in self._places(num_there, path)]
        pictures = {}
        for place, frame in enumerate(islice(media.frames(path), max(places) + 1)):
            if place in places:
                pictures[place] = media.picture(frame)
        return [pictures[place] for place in places]

    def _places(self, num_there: int, path: Any) -> list[int]:
        if num_there < self.min_frames:
            raise InputError(f"{named(path)} has {num_there} frames, {self.min_frames} are needed")
        if num_there <= self.num_frames:
            return [min(place, num_there - 1) for place in range(self.num_frames)]
        if self.rule == "uniform":
            return middles(num_there, self.num_frames)
        start = (num_there - self.num_frames) // 2 if self.rule == "centre" else 0
        return list(range(start, start + self.num_frames))


def middles(num_there: int, num_wanted: int) -> list[int]:
    """The places in the middle of `num_wanted` equal parts of `num_there` places."""
    return [(2 * part + 1) * num_there // (2 * num_wanted) for part in range(num_wanted)]
