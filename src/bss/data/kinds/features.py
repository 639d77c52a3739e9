"""Plain numbers: measurements, votes, embeddings."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from pydantic import Field, model_validator

from bss.data.kinds.kind import Exhibit, Kind
from bss.errors import InputError

MAX_EXHIBIT = 24  # numbers: more of them tell a person nothing
NO_BREAK = "\N{NO-BREAK SPACE}"  # a name stays on the line of its number


class Features(Kind):
    """A list or array of `size` finite numbers, or a `.npy` file of them -> the same numbers, (size,)."""

    encoder: ClassVar[str] = "mlp"
    example: ClassVar[Mapping[str, Any]] = {"size": 2}

    size: int = Field(ge=1)
    names: tuple[str, ...] = ()
    """What each number is, shown beside it; none, or one a number."""

    @model_validator(mode="after")
    def _every_number_has_a_name(self) -> "Features":
        if self.names and len(self.names) != self.size:
            raise InputError(f"{self.size} numbers have {len(self.names)} names")
        return self

    @property
    def shape(self) -> tuple[int, ...]:
        """(size,)."""
        return (self.size,)

    @property
    def dtype(self) -> type[np.generic]:
        """Single precision, as a batch."""
        return np.float32

    def read(self, value: Any) -> np.ndarray:
        """The numbers of the list or array `value`, or of the file at the path `value`.

        Raises:
            FileNotFoundError: there is no such file.
            InputError: they are not numbers, not `size` of them, or one is not finite as a float32.
        """
        given = from_npy(value) if isinstance(value, Path) else self._array(value)
        if given.shape != self.shape:
            raise InputError(f"{self.size} numbers are needed, got the shape {given.shape}")
        return singles(given)

    def _array(self, value: Any) -> np.ndarray:
        try:
            return np.asarray(value)
        except ValueError as error:
            raise InputError(f"{self.size} numbers are needed, got lists of different lengths") from error

    def exhibit(self, value: Any) -> Exhibit:
        """The numbers as text, each after its name, cut after 24 of them."""
        words = [f"{number:.2f}" for number in self.read(value)[:MAX_EXHIBIT]]
        if self.names:
            words = [f"{name}{NO_BREAK}{word}" for name, word in zip(self.names, words, strict=False)]
        rest = [f"... ({self.size} numbers)"] if self.size > MAX_EXHIBIT else []
        return Exhibit("text/plain", "  ".join([*words, *rest]).encode())


def singles(given: np.ndarray) -> np.ndarray:
    """Numbers, or steps of numbers, in single precision.

    Raises:
        InputError: they are no numbers, or one is not finite as a float32; the message has its place.
    """
    if given.dtype.kind not in "iuf":
        raise InputError(f"numbers are needed, got values of type {given.dtype}")
    with np.errstate(over="ignore"):
        numbers = given.astype(np.float32)
    for *step, number in np.argwhere(~np.isfinite(numbers)).tolist():
        place = "".join([f"number {number}", *(f" of step {one}" for one in step)])
        raise InputError(f"{place} is {given[*step, number]}, which is not finite as a float32")
    return numbers


def from_npy(path: Path) -> np.ndarray:
    """The array of a `.npy` file.

    Raises:
        FileNotFoundError: there is no such file.
        InputError: it is no array, or one of Python objects.
    """
    try:
        return np.asarray(np.load(path, allow_pickle=False))
    except (ValueError, EOFError) as error:
        raise InputError(f"{path} is no readable array: {error}") from error
