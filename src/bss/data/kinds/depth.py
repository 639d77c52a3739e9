"""Distances seen by a camera."""

from pathlib import Path
from typing import ClassVar

import numpy as np

from bss.data.kinds._maps import Maps
from bss.data.kinds._picture import from_file


class Depth(Maps):
    """Maps of one quantity; a still one may also be a grey picture of 8 or 16 bits. A depth video is a `video`."""

    encoder: ClassVar[str] = "small_cnn"
    num_channels: ClassVar[int] = 1

    def load(self, path: Path) -> np.ndarray:
        """The array of a `.npy` file or the grey values of a picture."""
        if path.suffix.lower() == ".npy":
            return super().load(path)
        return np.asarray(from_file(path))
