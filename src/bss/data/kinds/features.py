"""Plain numbers: measurements, votes, embeddings."""

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, ClassVar, Self

import numpy as np
from numpy.lib.format import MAGIC_PREFIX
from pydantic import Field, model_validator

from bss.data.kinds._content import is_file, named, opened
from bss.data.kinds._matlab import from_mat, is_matlab
from bss.data.kinds._noise import with_noise
from bss.data.kinds.kind import Exhibit, Kind
from bss.errors import InputError, first_line

MAX_EXHIBIT = 24  # numbers: more of them tell a person nothing
NUM_LOOKED_AT = 64  # values: a size that is left out is that of most of them
NO_BREAK = "\N{NO-BREAK SPACE}"  # a name stays on the line of its number


class Features(Kind):
    """A list or array of finite numbers, or a `.npy` file of them -> the same numbers, (size,)."""

    encoder: ClassVar[str] = "mlp"
    by_number: ClassVar[bool] = True
    example: ClassVar[Mapping[str, Any]] = {"size": 2}

    size: int | None = Field(default=None, ge=1)
    """Numbers of a sample; where left out, as many as most have."""
    names: tuple[str, ...] = ()
    """Names of the numbers, shown beside them; none, or one a number."""

    @model_validator(mode="after")
    def _every_number_has_a_name(self) -> "Features":
        if self.names and self.size is not None and len(self.names) != self.size:
            raise InputError(f"{self.size} numbers have {len(self.names)} names")
        return self

    @property
    def shape(self) -> tuple[int, ...]:
        """(size,); a single number until `fitted` has seen how many there are."""
        return (self.size or 1,)

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
        numbers = from_file(value) if is_file(value) else as_array(value)
        if numbers.ndim != 1 or len(numbers) != (self.size or len(numbers)):
            raise InputError(f"{self.size or 'a row of'} numbers are needed, got the shape {numbers.shape}")
        return singles(numbers)

    def fitted(self, values: Sequence[Any]) -> Self:
        """The kind with the size that most of the values have."""
        return self if self.size is not None else self._of_size(common_size(self, values))

    def recalled(self, shape: tuple[int, ...], tokens: tuple[str, ...] | None) -> Self:
        """The kind with that size."""
        return self._of_size(*shape)

    def _of_size(self, size: int) -> Self:
        return type(self)(**{**dict(self), "size": size})

    def noisy(self, value: Any, draw: np.random.Generator) -> np.ndarray:
        """The numbers plus noise of the same mean square, which is 0 dB where all of them are in one unit."""
        numbers = self.read(value)
        return with_noise(numbers, np.sqrt(np.square(numbers).mean()), draw)

    def exhibit(self, value: Any) -> Exhibit:
        """The numbers as text, each after its name, cut after 24 of them."""
        numbers = self.read(value)
        words = [f"{number:.2f}" for number in numbers[:MAX_EXHIBIT]]
        if self.names:
            words = [f"{name}{NO_BREAK}{word}" for name, word in zip(self.names, words, strict=False)]
        rest = [f"... ({len(numbers)} numbers)"] if len(numbers) > MAX_EXHIBIT else []
        return Exhibit("text/plain", "  ".join([*words, *rest]).encode())


def common_size(kind: Kind, values: Sequence[Any]) -> int:
    """The length of the last axis that most of the first values have, as the kind reads them.

    Raises:
        InputError: none of them can be read and has a number.
    """
    sizes: Counter[int] = Counter()
    for value in values[:NUM_LOOKED_AT]:
        with suppress(InputError, OSError):
            sizes[kind.read(value).shape[-1]] += 1
    del sizes[0]
    if not sizes:
        raise InputError("size is left out, and no training value that can be read has a number to find it by")
    return sizes.most_common(1)[0][0]


def singles(numbers: np.ndarray) -> np.ndarray:
    """Numbers, or steps of numbers, in single precision.

    Raises:
        InputError: they are no numbers, or one is not finite as a float32; the message has its place.
    """
    if numbers.dtype == object and (
        missing := [place for place, number in enumerate(numbers.flat) if number is None]
    ):
        raise InputError(f"number {missing[0]} is missing")
    if numbers.dtype.kind not in "iuf":
        raise InputError(f"numbers are needed, got values of type {numbers.dtype}")
    with np.errstate(over="ignore"):
        single = numbers.astype(np.float32)
    for *steps, place in np.argwhere(~np.isfinite(single)).tolist():
        where = "".join([f"number {place}", *(f" of step {step}" for step in steps)])
        raise InputError(f"{where} is {numbers[*steps, place]}, which is not finite as a float32")
    return single


def as_array(value: Any) -> np.ndarray:
    """The array of a raw value that is no path: a list, lists of lists, or an array.

    Raises:
        InputError: the lists are of different lengths.
    """
    try:
        return np.asarray(value)
    except ValueError as error:
        raise InputError("an array of numbers is needed, got lists of different lengths") from error


def from_file(path: Any) -> np.ndarray:
    """The array of a `.npy` file, or of a `.mat` file that holds one; what is in the file decides.

    Raises:
        FileNotFoundError: there is no such file.
        InputError: it is no array, or one of Python objects.
    """
    if is_matlab(path):
        return from_mat(path)
    with opened(path) as file:
        if file.read(len(MAGIC_PREFIX)) != MAGIC_PREFIX:  # numpy would call it pickled data
            raise InputError(f"{named(path)} is no readable array: it begins neither as .npy nor as .mat files do")
        file.seek(0)
        try:
            return np.asarray(np.load(file, allow_pickle=False))
        except Exception as error:  # numpy answers a damaged header with a dozen types
            raise InputError(f"{named(path)} is no readable array: {first_line(error)}") from error
