"""Series of vectors: sensors, word vectors, frame features."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from bss.data.kinds.features import as_array, from_npy, singles
from bss.data.kinds.kind import Exhibit, Kind
from bss.errors import InputError


class Sequence(Kind):
    """An array (T, size) or a list of lists, or a `.npy` file of one -> (length, size), NaN after its end.

    A longer sequence loses its end.
    """

    encoder: ClassVar[str] = "gru"
    padded: ClassVar[bool] = True
    by_number: ClassVar[bool] = True
    example: ClassVar[Mapping[str, Any]] = {"length": 3, "size": 2}

    length: int = Field(ge=1)
    """Steps of a sample; a longer one loses its end."""
    size: int = Field(ge=1)
    """Numbers of a step."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(length, size)."""
        return self.length, self.size

    @property
    def dtype(self) -> type[np.generic]:
        """Single precision, as a batch."""
        return np.float32

    def read(self, value: Any) -> np.ndarray:
        """The steps of the array or list `value`, or of the file at the path `value`.

        Raises:
            FileNotFoundError: there is no such file.
            InputError: it has no step, steps of another size, or a number that is not finite as a float32.
        """
        numbers = singles(self._steps(value)[: self.length])
        return np.pad(numbers, ((0, self.length - len(numbers)), (0, 0)), constant_values=np.nan)

    def exhibit(self, value: Any) -> Exhibit:
        """The number of steps, and the mean of each number over them."""
        steps = self._steps(value)
        means = "  ".join(f"{mean:.2f}" for mean in steps.mean(axis=0)[:24])
        return Exhibit("text/plain", f"{len(steps)} steps, mean  {means}".encode())

    def describe(self, value: Any) -> dict[str, float | str]:
        """The number of steps."""
        return {"steps": float(len(self._steps(value)))}

    def _steps(self, value: Any) -> np.ndarray:
        try:
            steps = from_npy(value) if isinstance(value, Path) else as_array(value)
        except InputError as error:
            raise InputError(f"steps of {self.size} numbers are needed: {error}") from error
        if steps.ndim != 2 or steps.shape[1] != self.size or len(steps) == 0:
            raise InputError(f"steps of {self.size} numbers are needed, got the shape {steps.shape}")
        if steps.dtype.kind not in "iuf":
            raise InputError(f"steps of {self.size} numbers are needed, got values of type {steps.dtype}")
        return steps
