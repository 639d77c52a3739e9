"""Still images."""

import io
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from bss.data.kinds.kind import Exhibit, Kind, Size
from bss.errors import InputError

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

MIN_EXHIBIT = 64  # pixels: below that a person sees a dot


class Image(Kind):
    """An image file, or an array (H, W) or (H, W, 3) of 0 .. 255 -> (channels, height, width), 0 .. 255.

    An image of another size is resized (bicubic), one of another mode converted; what is transparent shows white.
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
        """The pixels of the file at path `value`, or of the array `value`.

        Raises:
            FileNotFoundError: there is no such file.
            InputError: it is no image file, or no array of bytes.
        """
        return self.pixels(self._picture(value))

    def pixels(self, picture: "Picture") -> np.ndarray:
        """A decoded picture as `read` gives it."""
        _, height, width = self.shape
        picture = picture.convert("L" if self.channels == 1 else "RGB")
        if picture.size != (width, height):
            picture = picture.resize((width, height))
        return np.array(picture).reshape(height, width, self.channels).transpose(2, 0, 1)

    def exhibit(self, value: Any) -> Exhibit:
        """A PNG of at least 64 x 64 pixels; a smaller one is enlarged without smoothing."""
        return self.shown(self._picture(value))

    def shown(self, picture: "Picture") -> Exhibit:
        """A decoded picture for a page."""
        from PIL.Image import Resampling

        picture = picture.convert("L" if self.channels == 1 else "RGB")
        factor = math.ceil(MIN_EXHIBIT / min(MIN_EXHIBIT, *picture.size))
        picture = picture.resize((picture.width * factor, picture.height * factor), Resampling.NEAREST)
        file = io.BytesIO()
        picture.save(file, "PNG")
        return Exhibit("image/png", file.getvalue())

    def is_constant(self, array: np.ndarray) -> bool:
        """Whether every pixel has the same colour."""
        return bool((array == array[:, :1, :1]).all())

    def _picture(self, value: Any) -> "Picture":
        return from_array(value) if isinstance(value, np.ndarray) else on_white(from_file(value))


def from_array(pixels: np.ndarray) -> "Picture":
    """A picture of bytes (H, W) or (H, W, 3).

    Raises:
        InputError: the array has another type or shape.
    """
    import PIL.Image

    if pixels.dtype != np.uint8 or pixels.shape[2:] not in [(), (3,)] or pixels.ndim < 2 or pixels.size == 0:
        raise InputError(f"an image is uint8 of shape (H, W) or (H, W, 3), got {pixels.dtype} {pixels.shape}")
    return PIL.Image.fromarray(pixels)


def on_white(picture: "Picture") -> "Picture":
    """The picture laid on white where it has transparent pixels, whose colours nobody sees; else as it is."""
    import PIL.Image

    if not picture.has_transparency_data:
        return picture
    white = PIL.Image.new("RGBA", picture.size, "white")
    white.alpha_composite(picture.convert("RGBA"))
    return white


def from_file(path: Any) -> "Picture":
    """The decoded picture at `path`.

    Raises:
        FileNotFoundError: there is no such file.
        InputError: it cannot be decoded.
    """
    import PIL.Image

    try:
        with PIL.Image.open(path) as picture:
            picture.load()
            return picture
    except FileNotFoundError:
        raise
    except (OSError, SyntaxError, PIL.Image.DecompressionBombError) as error:
        raise InputError(f"{path} is no readable image: {error}") from error
