"""Series of vectors: sensors, word vectors, frame features."""

from collections.abc import Mapping
from collections.abc import Sequence as Values
from typing import Any, ClassVar, Self

import numpy as np
from pydantic import Field

from bss.data.kinds._content import is_file
from bss.data.kinds._noise import with_noise
from bss.data.kinds._series import resized
from bss.data.kinds.features import as_array, common_size, from_file, singles
from bss.data.kinds.kind import Exhibit, Kind
from bss.errors import InputError


class Sequence(Kind):
    """An array (T, size) or a list of lists, or a `.npy` or `.mat` file of one -> (length, size), NaN after its end.

    A longer sequence loses its end; with `resize` each is made `length` steps long instead.
    """

    padded: ClassVar[bool] = True
    facts: ClassVar[tuple[str, ...]] = ("steps",)
    by_number: ClassVar[bool] = True
    example: ClassVar[Mapping[str, Any]] = {"length": 3, "size": 2}

    length: int = Field(ge=1)
    """Steps of a sample; a longer one loses its end, unless it is resized."""
    size: int | None = Field(default=None, ge=1)
    """Numbers of a step; where left out, as many as most samples have."""
    resize: bool = False
    """Whether a sample of any length is interpolated linearly to `length` steps, so that none is padded or cut."""

    @property
    def encoder(self) -> str:  # type: ignore[override]
        """A recurrent network where samples are padded, else convolutions."""
        return "small_cnn" if self.resize else "gru"

    @property
    def shape(self) -> tuple[int, ...]:
        """(length, size); steps of a single number until `fitted` has seen how many there are."""
        return self.length, self.size or 1

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
        numbers = self._numbers(value)
        return np.pad(numbers, ((0, self.length - len(numbers)), (0, 0)), constant_values=np.nan)

    def fitted(self, values: Values[Any]) -> Self:
        """The kind with the size that most of the values have."""
        return self if self.size is not None else self._of_size(common_size(self, values))

    def recalled(self, shape: tuple[int, ...], tokens: tuple[str, ...] | None) -> Self:
        """The kind with that size."""
        return self._of_size(shape[1])

    def _of_size(self, size: int) -> Self:
        return type(self)(**{**dict(self), "size": size})

    def noisy(self, value: Any, draw: np.random.Generator) -> np.ndarray:
        """The steps that are read, each number under noise of its own variance over them."""
        numbers = self._numbers(value)
        return with_noise(numbers, numbers.std(axis=0), draw)

    def exhibit(self, value: Any) -> Exhibit:
        """The number of steps, and the mean of each number over them."""
        steps = self._steps(value)
        means = "  ".join(f"{mean:.2f}" for mean in steps.mean(axis=0)[:24])
        return Exhibit("text/plain", f"{len(steps)} steps, mean  {means}".encode())

    def describe(self, value: Any) -> dict[str, float | str]:
        """The number of steps."""
        return {"steps": float(len(self._steps(value)))}

    def _numbers(self, value: Any) -> np.ndarray:
        """The steps that are read, in single precision."""
        if self.resize:
            return resized(singles(self._steps(value)), self.length).astype(self.dtype)
        return singles(self._steps(value)[: self.length])

    def _steps(self, value: Any) -> np.ndarray:
        needed = f"steps of {self.size or 'equally many'} numbers are needed"
        try:
            steps = from_file(value) if is_file(value) else as_array(value)
        except InputError as error:
            raise InputError(f"{needed}: {error}") from error
        if steps.ndim != 2 or steps.shape[1] != (self.size or steps.shape[1]) or steps.size == 0:
            raise InputError(f"{needed}, got the shape {steps.shape}")
        if steps.dtype.kind not in "iuf":
            raise InputError(f"{needed}, got values of type {steps.dtype}")
        return steps
