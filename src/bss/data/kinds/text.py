"""Short texts as the ids of their words."""

import re
from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from typing import Any, ClassVar, Self
from unicodedata import normalize

import numpy as np
from pydantic import Field

from bss.data.kinds.kind import Exhibit, Kind
from bss.data.packed import PADDING, UNKNOWN

RESERVED = ("<pad>", "<unknown>")
"""The tokens of the ids PADDING and UNKNOWN; no word has their brackets."""
WORD = re.compile(r"[^\W_]+")


class Text(Kind):
    """A text -> the ids of its words, (length,): a longer text loses its end, a shorter one is filled with the id 0.

    A word that the vocabulary lacks has the id 1. A text is read by the kind that `fitted` returns.
    """

    encoder: ClassVar[str] = "text_embedding"
    paths: ClassVar[bool] = False
    normalised: ClassVar[bool] = False

    length: int = Field(ge=1)
    """Words of a sample."""
    min_count: int = Field(default=1, ge=1)
    """A word that the training texts hold less often is unknown."""
    max_tokens: int | None = Field(default=None, gt=len(RESERVED))
    """Most tokens, the two reserved ones among them; the rarest words are unknown."""
    vocabulary: tuple[str, ...] | None = None
    """The reserved tokens and the words of the training texts, by id; None before they are learned."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(length,)."""
        return (self.length,)

    @property
    def dtype(self) -> type[np.generic]:
        """Whole numbers; the float32 of a batch holds them exactly up to 2^24."""
        return np.int32

    @property
    def tokens(self) -> tuple[str, ...] | None:
        """The vocabulary."""
        return self.vocabulary

    def fitted(self, values: Sequence[Any]) -> Self:
        """The kind with the words of the texts `values`: most frequent first, equally frequent ones by the alphabet.

        Raises:
            ValueError: a value is no text or holds no word, or no word is frequent enough.
        """
        counts = Counter(word for value in values for word in split_words(value))
        frequent = sorted((-count, word) for word, count in counts.items() if count >= self.min_count)
        if not frequent:
            raise ValueError(f"no word is {self.min_count} times in the {len(values)} training texts")
        vocabulary = (*RESERVED, *(word for _, word in frequent))[: self.max_tokens]
        return type(self)(**{**dict(self), "vocabulary": vocabulary})

    def read(self, value: Any) -> np.ndarray:
        """The ids of the first `length` words of the text `value`.

        Raises:
            ValueError: it is no text, holds no word, or the words were not learned yet.
        """
        ids = [self._ids.get(word, UNKNOWN) for word in split_words(value)[: self.length]]
        return np.array(ids + [PADDING] * (self.length - len(ids)), self.dtype)

    def exhibit(self, value: Any) -> Exhibit:
        """The whole text as it is."""
        split_words(value)
        return Exhibit("text/plain", value.encode())

    @cached_property
    def _ids(self) -> dict[str, int]:
        if self.vocabulary is None:
            raise ValueError("the words were not learned yet: read with the kind that `fitted` returns")
        return {word: number for number, word in enumerate(self.vocabulary)}


def split_words(text: Any) -> list[str]:
    """The words of a text in order and in lower case: runs of letters and digits of any script.

    Raises:
        ValueError: it is no text, or holds no word.
    """
    if not isinstance(text, str):
        raise ValueError(f"a text is needed, got {text!r:.50} of type {type(text).__name__}")
    # An accent and its letter may be two characters, of which the accent is none of a word.
    if not (words := WORD.findall(normalize("NFC", text).lower())):
        raise ValueError(f"the text {text!r:.50} holds no word")
    return words
