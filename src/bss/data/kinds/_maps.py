"""Image-like arrays of quantities, still or in a row."""

import io
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
from pydantic import Field, model_validator

from bss.data.kinds._content import is_file
from bss.data.kinds._noise import with_noise
from bss.data.kinds.features import as_array, from_file
from bss.data.kinds.kind import Exhibit, Kind, Size
from bss.data.kinds.video import middles
from bss.errors import InputError


class Maps(Kind):
    """A `.npy` or `.mat` file or an array, (H, W, C) or (T, H, W, C), C left out where it is 1, becomes
    (C, [frames,] height, width).

    A map of another size is resized (bilinear). Of T maps the middle ones of equal parts are taken; where there are
    fewer than `num_frames`, the last one comes again.
    """

    num_channels: ClassVar[int]
    example: ClassVar[Mapping[str, Any]] = {"size": 8}

    size: Size
    """Pixels: height and width, or one number for both."""
    num_frames: int | None = Field(default=None, ge=1)
    """Maps of a sample; a still one where left out."""
    time_last: bool = False
    """Whether the time is the last axis of a raw value instead of the first, as in files of MATLAB."""

    @model_validator(mode="after")
    def _time_has_an_axis(self) -> Self:
        if self.time_last and self.num_frames is None:
            raise InputError("time_last is of maps in a row; say num_frames, or leave it out")
        return self

    @property
    def shape(self) -> tuple[int, ...]:
        """(channels, height, width), or (channels, frames, height, width)."""
        height, width = self.size if isinstance(self.size, tuple) else (self.size, self.size)
        frames = () if self.num_frames is None else (self.num_frames,)
        return self.num_channels, *frames, height, width

    @property
    def dtype(self) -> type[np.generic]:
        """Half precision."""
        return np.float16

    def read(self, value: Any) -> np.ndarray:
        """The maps of the array `value`, or of the file at the path `value`.

        Raises:
            FileNotFoundError: there is no such file.
            InputError: it has another shape or type, or a number that is not finite as a float16.
        """
        maps = self._maps(value)
        if self.num_frames is not None:
            few = len(maps) <= self.num_frames
            places = (
                np.arange(self.num_frames).clip(max=len(maps) - 1) if few else middles(len(maps), self.num_frames)
            )
            maps = maps[places]
        with np.errstate(over="ignore"):
            resized = np.stack([self._resized(still) for still in maps], axis=1).astype(self.dtype)
        if not np.isfinite(resized).all():
            raise InputError("a number is not finite as a float16 (more than 65504?)")
        return resized.reshape(self.shape)

    def noisy(self, value: Any, draw: np.random.Generator) -> np.ndarray:
        """The maps that are read, under noise of the same variance over all their numbers."""
        maps = np.moveaxis(self.read(value), 0, -1).astype(np.float64)
        most = float(np.finfo(np.float16).max)
        noisy = with_noise(maps, maps.std(), draw).clip(-most, most)
        return np.moveaxis(noisy, 0, -1) if self.time_last else noisy

    def exhibit(self, value: Any) -> Exhibit:
        """The middle map, its largest value white; of several channels their magnitude."""
        from PIL import Image as Pictures

        maps = self._maps(value)
        grey = np.linalg.norm(maps[len(maps) // 2], axis=-1)
        span = float(np.ptp(grey)) or 1.0
        file = io.BytesIO()
        Pictures.fromarray((255 * (grey - grey.min()) / span).astype(np.uint8)).save(file, "PNG")
        return Exhibit("image/png", file.getvalue())

    def load(self, path: Any) -> np.ndarray:
        """The array of a file."""
        return from_file(path)

    def _maps(self, value: Any) -> np.ndarray:
        """(T, H, W, C) float32."""
        given = self.load(value) if is_file(value) else as_array(value)
        values = np.moveaxis(given, -1, 0) if self.time_last and given.ndim else given
        dimensions = 2 if self.num_frames is None else 3
        maps = values[..., None] if self.num_channels == 1 and values.ndim == dimensions else values
        if maps.ndim != dimensions + 1 or maps.shape[-1] != self.num_channels or 0 in maps.shape:
            first, last = ("", "") if self.num_frames is None else ("", ", T") if self.time_last else ("T, ", "")
            raise InputError(
                f"an array ({first}H, W, {self.num_channels}{last}) is needed, got the shape {given.shape}"
            )
        if maps.dtype.kind not in "iuf":
            raise InputError(f"an array of numbers is needed, got values of type {maps.dtype}")
        return (maps[None] if self.num_frames is None else maps).astype(np.float32)

    def _resized(self, still: np.ndarray) -> np.ndarray:
        """(H, W, C) -> (C, height, width)."""
        from PIL.Image import Resampling, fromarray

        height, width = self.shape[-2:]
        if still.shape[:2] == (height, width):
            return still.transpose(2, 0, 1)
        channels = [np.ascontiguousarray(still[..., channel]) for channel in range(self.num_channels)]
        return np.stack([np.array(fromarray(maps).resize((width, height), Resampling.BILINEAR)) for maps in channels])
