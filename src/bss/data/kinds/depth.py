"""Distances seen by a camera."""

from typing import Any, ClassVar

import numpy as np
from numpy.lib.format import MAGIC_PREFIX

from bss.data.kinds._content import opened
from bss.data.kinds._maps import Maps
from bss.data.kinds._matlab import is_matlab
from bss.data.kinds._picture import from_file


class Depth(Maps):
    """Maps of one quantity; a still one may also be a grey picture of 8 or 16 bits. A depth video is a `video`."""

    encoder: ClassVar[str] = "small_cnn"
    num_channels: ClassVar[int] = 1

    def load(self, path: Any) -> np.ndarray:
        """The array that NumPy or MATLAB saved, or the grey values of a picture."""
        with opened(path) as file:
            is_array = file.read(len(MAGIC_PREFIX)) == MAGIC_PREFIX
        return super().load(path) if is_array or is_matlab(path) else np.asarray(from_file(path))
