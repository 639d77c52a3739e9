"""Still images."""

import io
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from bss.data.kinds._noise import with_noise
from bss.data.kinds._picture import from_array, from_file, of_bytes, on_white
from bss.data.kinds.kind import Exhibit, Kind, Size
from bss.errors import InputError

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

MIN_EXHIBIT = 64  # pixels: below that a person sees a dot


class Image(Kind):
    """An image file, or an array (H, W) or (H, W, 3) of 0 .. 255 -> (channels, height, width), 0 .. 255.

    An image of another size is resized (bicubic), one of another mode converted; what is transparent shows white. One
    that is kept on its side is turned upright, as its file asks; 16 bits become 8.
    """

    encoder: ClassVar[str] = "small_cnn"
    constant: ClassVar[str | None] = "one_colour"
    example: ClassVar[Mapping[str, Any]] = {"size": 8}

    size: Size
    """Pixels: height and width, or one number for both."""
    channels: Literal[1, 3] = 3
    """1 grey, 3 red, green and blue."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(channels, height, width)."""
        height, width = self.size if isinstance(self.size, tuple) else (self.size, self.size)
        return self.channels, height, width

    @property
    def dtype(self) -> type[np.generic]:
        """Bytes."""
        return np.uint8

    def read(self, value: Any) -> np.ndarray:
        """The pixels of the file at path `value`, of its content `{"bytes": ...}`, or of the array `value`.

        Raises:
            FileNotFoundError: there is no such file.
            InputError: it is no image file, or no array of bytes.
        """
        return self.pixels(self._picture(value, self.shape[1:]))

    def pixels(self, picture: "Picture") -> np.ndarray:
        """A decoded picture as `read` gives it."""
        _, height, width = self.shape
        picture = self._converted(picture)
        if picture.size != (width, height):
            picture = picture.resize((width, height))
        return np.array(picture).reshape(height, width, self.channels).transpose(2, 0, 1)

    def exhibit(self, value: Any) -> Exhibit:
        """A PNG of at least 64 x 64 pixels; a smaller one is enlarged without smoothing."""
        return self.shown(self._picture(value))

    def shown(self, picture: "Picture") -> Exhibit:
        """A decoded picture for a page."""
        from PIL.Image import Resampling

        picture = self._converted(picture)
        factor = math.ceil(MIN_EXHIBIT / min(MIN_EXHIBIT, *picture.size))
        picture = picture.resize((picture.width * factor, picture.height * factor), Resampling.NEAREST)
        file = io.BytesIO()
        picture.save(file, "PNG")
        return Exhibit("image/png", file.getvalue())

    def noisy(self, value: Any, draw: np.random.Generator) -> np.ndarray:
        """The pixels under noise of the same variance, cut to 0 .. 255; a picture of one colour has none."""
        pixels = self.read(value).transpose(1, 2, 0).astype(np.float64)
        noisy = with_noise(pixels, pixels.std(), draw).round().clip(0, 255).astype(np.uint8)
        return np.asarray(noisy[..., 0] if self.channels == 1 else noisy)

    def is_constant(self, array: np.ndarray) -> bool:
        """Whether every pixel has the same colour."""
        return bool((array == array[:, :1, :1]).all())

    def _converted(self, picture: "Picture") -> "Picture":
        try:
            return on_white(of_bytes(picture)).convert("L" if self.channels == 1 else "RGB")
        except ValueError as error:
            raise InputError(f"an image of mode {picture.mode} cannot be converted: {error}") from error

    def _picture(self, value: Any, size: tuple[int, ...] | None = None) -> "Picture":
        return from_array(value) if isinstance(value, np.ndarray | list) else from_file(value, size)
