"""The contract of a kind of modality, between a data set and the packed arrays.

Dropping a file with a `Kind` into this folder registers it.
"""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Self

import numpy as np
from pydantic import Field, PositiveInt

from bss.errors import InputError
from bss.registry import Component, Registry

Size = PositiveInt | Annotated[tuple[PositiveInt, PositiveInt], Field(strict=False)]  # of YAML comes a list
"""Pixels: height and width, or one number for both."""

NUM_LOOKS = 16  # before every value of a sample is looked at


@dataclass(frozen=True)
class Exhibit:
    """A raw value as a person can take it in: bytes of a media type such as `image/png` or `audio/wav`."""

    media_type: str
    content: bytes


class Kind(Component):
    """A way to make an array of a fixed shape from one raw value (a path, or the value itself) of a modality."""

    encoder: ClassVar[str]
    """Name of the encoder for this kind where params.yaml names none."""
    normalised: ClassVar[bool] = True
    """Whether a model is given (array - mean) / std of the training split; else the array as it is."""

    by_number: ClassVar[bool] = False
    """Whether each number of the last axis has a mean and a deviation of its own, as units ask for."""

    padded: ClassVar[bool] = False
    """Whether NaN stands where a sample has ended; else every number is finite."""
    facts: ClassVar[tuple[str, ...]] = ()
    """What `describe` gives; each is a column MODALITY_FACT of the manifest."""
    constant: ClassVar[str | None] = None
    """Name of the fault of a sample with one value everywhere, as `allow` spells it; None where it is no fault."""

    @property
    def paths(self) -> bool:
        """Whether a string is the path of a file; else it is the value itself."""
        return True

    @property
    def tokens(self) -> tuple[str, ...] | None:
        """The word of each token id, where the arrays hold such ids."""
        return None

    @property
    def padding(self) -> int:
        """The token id that fills a short sample."""
        return 0

    @property
    def dimensions(self) -> int | None:
        """Coordinates of a joint, where the numbers of a step are those of joint after joint."""
        return None

    def fitted(self, values: Sequence[Any]) -> Self:
        """The kind with what it learns from the raw values of the training split, for example a vocabulary.

        Raises:
            InputError: nothing can be learned from them.
        """
        return self

    def recalled(self, shape: tuple[int, ...], tokens: tuple[str, ...] | None) -> Self:
        """The kind for values that were never packed: with what `fitted` has learned, with nothing of single files.

        Args:
            shape: of the fitted kind, as the packed description keeps it.
            tokens: likewise.
        """
        return self

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """Shape of one sample, without the batch axis."""

    @property
    @abstractmethod
    def dtype(self) -> type[np.generic]:
        """Type that the packed array stores; a batch is always float32."""

    @abstractmethod
    def read(self, value: Any) -> np.ndarray:
        """The array of one raw value, of `shape` and `dtype`.

        Raises:
            OSError: the value is the path of no file, or of one that cannot be opened.
            InputError: the value cannot be used; the message names it and says why. Any other error is a fault of
                the kind, and passes with its traceback.
        """

    @abstractmethod
    def exhibit(self, value: Any) -> Exhibit:
        """The raw value for a page that a person looks at."""

    def noisy(self, value: Any, draw: np.random.Generator) -> Any:
        """A raw value as `read` and `exhibit` take it: the given one with as much noise as signal (0 dB).

        The noise is white and added at the size or rate that a sample is read in, so that no resizing takes it away.

        Raises:
            InputError: the kind has no noise, or the value cannot be used; as `read` for the rest.
        """
        raise InputError(f"there is no noise for the kind {self.name}")

    def blank(self) -> np.ndarray:
        """The sample that says nothing, as `read` would give it: zeros, unless the kind has a better nothing."""
        return np.zeros(self.shape, self.dtype)

    def describe(self, value: Any) -> dict[str, float | str]:
        """The `facts` of one raw value, for example its duration in seconds."""
        return {}

    def is_constant(self, array: np.ndarray) -> bool:
        """Whether a sample as `read` gives it has one value everywhere."""
        few = array.ravel()[:: max(1, array.size // NUM_LOOKS)]
        return bool((few == few[0]).all() and (array == few[0]).all())


KINDS: Registry[Kind] = Registry("kind", "bss.data.kinds", Kind)
