"""What a modality is made of: the contract between a data set and the packed arrays."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from bss.registry import Strict


@dataclass(frozen=True)
class Exhibit:
    """A raw value as a person can take it in: bytes of a media type such as `image/png` or `audio/wav`."""

    media_type: str
    content: bytes


class Kind(Strict, ABC):
    """How one raw value (a path, or the value itself) of a modality becomes an array of a fixed shape."""

    encoder: ClassVar[str]
    """Name of the encoder that serves this kind where params.yaml names none."""
    paths: ClassVar[bool] = True
    """Whether a string is the path of a file; else it is the value itself."""
    normalised: ClassVar[bool] = True
    """Whether a model is given (array - mean) / std of the training split; else the array as it is."""

    @property
    def tokens(self) -> tuple[str, ...] | None:
        """The word of each token id, where the arrays hold such ids."""
        return None

    def fitted(self, values: Sequence[Any]) -> Self:
        """The kind with what it learns from the raw values of the training split, for example a vocabulary.

        Raises:
            ValueError: nothing can be learned from them.
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
            FileNotFoundError: the value is the path of no file.
            ValueError: the value cannot be read; the message names it and says why.
        """

    @abstractmethod
    def exhibit(self, value: Any) -> Exhibit:
        """The raw value for a page that a person looks at."""

    def describe(self, value: Any) -> dict[str, float | str]:
        """Facts of one raw value for the manifest, for example its duration in seconds."""
        return {}
