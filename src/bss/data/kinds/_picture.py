"""Pictures from files and arrays, decoded once for every kind: upright, and in bytes."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bss.data.kinds._content import named, opened
from bss.errors import InputError

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

PICTURES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm", ".pgm", ".tif", ".tiff", ".gif"})
ORIENTATION, ON_ITS_SIDE = 0x0112, 5
"""The tag of Exif, and the least of its values that swap height and width."""
SPARE = 2
"""Times the wanted size that a scaled decoding has at least: the resizing afterwards then sees no difference."""
BYTE = 257
"""16-bit values for each 8-bit one: 65535 / 255."""


def pictures_in(folder: Path) -> list[Path]:
    """The pictures in a folder, by the endings of their names, in the order of those."""
    return sorted(file for file in folder.iterdir() if file.suffix.lower() in PICTURES)


def from_array(pixels: Any) -> "Picture":
    """A picture of an array, or lists, of bytes (H, W) or (H, W, 3).

    Raises:
        InputError: the array has another type or shape.
    """
    import PIL.Image

    if isinstance(pixels, list) or pixels.dtype.kind in "iu":
        pixels = _bytes_of(pixels)
    if pixels.dtype != np.uint8 or pixels.shape[2:] not in [(), (3,)] or pixels.ndim < 2 or pixels.size == 0:
        raise InputError(f"an image is uint8 of shape (H, W) or (H, W, 3), got {pixels.dtype} {pixels.shape}")
    return PIL.Image.fromarray(pixels)


def _bytes_of(values: Any) -> np.ndarray:
    """Lists or an array of whole numbers as an array; of bytes, where all are in 0 .. 255."""
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise InputError("an image is needed, got lists of different lengths") from error
    is_of_bytes = array.dtype.kind in "iu" and array.size and 0 <= array.min() <= array.max() <= 255
    return array.astype(np.uint8) if is_of_bytes else array


def on_white(picture: "Picture") -> "Picture":
    """The picture laid on white where it has transparent pixels, whose colours nobody sees; else as it is."""
    import PIL.Image

    if not picture.has_transparency_data:
        return picture
    white = PIL.Image.new("RGBA", picture.size, "white")
    white.alpha_composite(picture.convert("RGBA"))
    return white


def from_file(path: Any, size: tuple[int, ...] | None = None) -> "Picture":
    """The decoded picture at `path`, upright.

    Args:
        path: of the file, or its content as `{"bytes": ...}`, as image sets are published in Parquet.
        size: height and width that it is wanted in; a JPEG of several times that is decoded at a part of its size.

    Raises:
        FileNotFoundError: there is no such file.
        InputError: it cannot be decoded.
    """
    import PIL.Image
    import PIL.ImageOps

    source = opened(path) if isinstance(path, Mapping) else path
    try:
        with PIL.Image.open(source) as picture:
            orientation = picture.getexif().get(ORIENTATION, 1)
            if size is not None:
                across = size if orientation >= ON_ITS_SIDE else size[::-1]
                picture.draft(None, (SPARE * across[0], SPARE * across[1]))
            picture.load()
            return picture if orientation == 1 else PIL.ImageOps.exif_transpose(picture)
    except FileNotFoundError:
        raise
    except (OSError, SyntaxError, ValueError, PIL.Image.DecompressionBombError) as error:
        raise InputError(f"{named(path)} is no readable image: {error}") from error


def of_bytes(picture: "Picture") -> "Picture":
    """The same with values 0 .. 255, if it has more bits.

    Raises:
        InputError: it has numbers of 32 bits, of which nobody knows which is white.
    """
    import PIL.Image

    if picture.mode.startswith("I;16"):
        return PIL.Image.fromarray(np.rint(np.asarray(picture) / BYTE).astype(np.uint8))
    if picture.mode in {"I", "F"}:
        raise InputError("an image of 32 bits a pixel has no white; save it with 8 or 16 bits")
    return picture
