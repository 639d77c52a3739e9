"""Many numbers as a picture: a cell a number, coloured by how far it lies from the mean of the training pairs."""

from base64 import b64encode
from io import BytesIO

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bss.evaluation.page.section import Shown

LIMIT = 3.0
"""Standard deviations at which a colour is as strong as it gets."""
MAX_CELLS = (64, 256)
"""Rows and columns; of more, neighbours are averaged."""
ABOVE, BELOW = (0, 114, 178), (201, 79, 0)
"""Blue and orange, which show on white and on black."""
WORDS = (
    "Numbers are drawn as cells: blue above the mean of the training pairs, orange below, full at three standard "
    "deviations. Of a sequence each row is one number, and time goes to the right."
)


def strip(modality: str, numbers: ArrayLike, mean: ArrayLike, std: ArrayLike) -> Shown:
    """A sample of numbers (size,), or of steps of numbers (T, size), as a picture.

    Args:
        modality: its name.
        numbers: NaN where a sequence has ended.
        mean: one, or one a number.
        std: likewise, above 0.
    """
    from PIL import Image

    deviations = (np.asarray(numbers, dtype=float) - np.asarray(mean)) / np.asarray(std)
    cells = np.atleast_2d(deviations.T if deviations.ndim > 1 else deviations)
    known = cells[np.isfinite(cells)]
    picture = BytesIO()
    Image.fromarray(_coloured(_averaged(cells)), "RGBA").save(picture, format="PNG", optimize=True)
    words = f"{known.size:,} numbers, {known.min():+.1f} to {known.max():+.1f} standard deviations from the mean"
    media = "strip" if len(cells) == 1 else "map"
    return Shown(modality, media, f"data:image/png;base64,{b64encode(picture.getvalue()).decode()}", words)


def _averaged(cells: NDArray[np.float64]) -> NDArray[np.float64]:
    for axis, most in enumerate(MAX_CELLS):
        if cells.shape[axis] > most:
            ends = np.linspace(0, cells.shape[axis], most + 1).astype(int)[:-1]
            is_known = np.isfinite(cells)
            sums, counts = (
                np.add.reduceat(part, ends, axis) for part in (np.where(is_known, cells, 0), is_known * 1.0)
            )
            cells = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
    return cells


def _coloured(cells: NDArray[np.float64]) -> NDArray[np.uint8]:
    strength = np.nan_to_num(np.clip(np.abs(cells) / LIMIT, 0, 1))
    colours = np.where((cells > 0)[..., None], ABOVE, BELOW)
    return np.concatenate([colours, np.rint(255 * strength)[..., None]], axis=-1).astype(np.uint8)
