"""Short texts as the ids of their words."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from typing import Any, ClassVar, Self
from unicodedata import normalize

import numpy as np
from pydantic import Field

from bss.data.kinds._content import is_file, named, opened
from bss.data.kinds.kind import Exhibit, Kind
from bss.data.packed import PADDING, UNKNOWN
from bss.errors import InputError

RESERVED = ("<pad>", "<unknown>")
"""The tokens of the ids PADDING and UNKNOWN; no word has their brackets."""
WORD = re.compile(r"[^\W_]+")


class Text(Kind):
    """A text -> the ids of its words, (length,): a longer text loses its end, a shorter one is filled with the id 0.

    A word that the vocabulary lacks has the id 1. A text is read by the kind that `fitted` returns.
    """

    encoder: ClassVar[str] = "text_embedding"
    normalised: ClassVar[bool] = False
    example: ClassVar[Mapping[str, Any]] = {"length": 4}

    length: int = Field(ge=1)
    """Words of a sample; a longer text loses its end."""
    min_count: int = Field(default=1, ge=1)
    """A word that the training texts hold less often is unknown."""
    max_tokens: int | None = Field(default=None, gt=len(RESERVED))
    """Most tokens, the two reserved ones among them; the rarest words are unknown."""
    vocabulary: tuple[str, ...] | None = None
    """The reserved tokens and the words of the training texts, by id; None before they are learned."""
    from_files: bool = False
    """Whether the values are paths of text files, UTF-8, instead of the texts."""
    tokenizer: str | None = None
    """A Hugging Face tokenizer, a folder or a name of the hub, in place of words learned from the training texts."""

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

    @property
    def paths(self) -> bool:
        """Whether the texts lie in files."""
        return self.from_files

    @property
    def padding(self) -> int:
        """The padding id of the tokenizer, or else 0."""
        return PADDING if self.tokenizer is None else self._tokenizer.pad_token_id or 0

    def fitted(self, values: Sequence[Any]) -> Self:
        """The kind with the words of the texts `values`: most frequent first, equally frequent ones by the alphabet.

        A value that `read` would refuse teaches nothing.

        Raises:
            InputError: no word is frequent enough.
        """
        if self.tokenizer is not None:
            tokens = self._tokenizer.convert_ids_to_tokens(range(len(self._tokenizer)))
            return type(self)(**{**dict(self), "vocabulary": tuple(tokens)})
        counts: Counter[str] = Counter()
        for value in values:
            with suppress(InputError, OSError):
                counts.update(split_words(self._text(value)))
        frequent = sorted((-count, word) for word, count in counts.items() if count >= self.min_count)
        if not frequent:
            raise InputError(f"no word is {self.min_count} times in the {len(values)} training texts")
        vocabulary = (*RESERVED, *(word for _, word in frequent))[: self.max_tokens]
        return type(self)(**{**dict(self), "vocabulary": vocabulary})

    def recalled(self, shape: tuple[int, ...], tokens: tuple[str, ...] | None) -> Self:
        """The kind with that vocabulary."""
        return type(self)(**{**dict(self), "vocabulary": tokens})

    def read(self, value: Any) -> np.ndarray:
        """The ids of the first `length` words of the text `value`, or of the text file at the path `value`.

        Raises:
            FileNotFoundError: there is no such file.
            InputError: it is no text, holds no word, or the words were not learned yet.
        """
        value = self._text(value)
        if self.tokenizer is not None:
            split_words(value)
            filled = self._tokenizer(value, max_length=self.length, padding="max_length", truncation=True)
            return np.array(filled["input_ids"], self.dtype)
        ids = [self._ids.get(word, UNKNOWN) for word in split_words(value)[: self.length]]
        return np.array(ids + [PADDING] * (self.length - len(ids)), self.dtype)

    def noisy(self, value: Any, draw: np.random.Generator) -> str:
        """The words in their order, and among them, at random places, as many drawn from the vocabulary.

        Each word of the training texts is as likely as any. A text that becomes longer than `length` loses its end.
        """
        words = np.array(split_words(self._text(value)), object)
        known = [word for word in self._ids if WORD.fullmatch(word)]
        mixed = draw.choice(np.array(known, object), 2 * len(words))
        mixed[draw.permutation(len(mixed)) < len(words)] = words
        return " ".join(mixed)

    def blank(self) -> np.ndarray:
        """Nothing but padding: an empty text."""
        return np.full(self.shape, self.padding, self.dtype)

    def exhibit(self, value: Any) -> Exhibit:
        """The whole text as it is."""
        value = self._text(value)
        split_words(value)
        return Exhibit("text/plain", value.encode())

    def _text(self, value: Any) -> Any:
        return from_file(value) if self.from_files and is_file(value) else value

    @cached_property
    def _tokenizer(self) -> Any:
        from transformers import AutoTokenizer

        try:
            return AutoTokenizer.from_pretrained(self.tokenizer)
        except (OSError, ValueError) as error:
            raise InputError(f"no tokenizer at '{self.tokenizer}': {str(error).splitlines()[0]}") from error

    @cached_property
    def _ids(self) -> dict[str, int]:
        if self.vocabulary is None:
            raise InputError("the words were not learned yet: read with the kind that `fitted` returns")
        return {word: number for number, word in enumerate(self.vocabulary)}


def from_file(path: Any) -> str:
    """The content of a text file.

    Raises:
        FileNotFoundError: there is no such file.
        InputError: it is not UTF-8.
    """
    try:
        with opened(path) as file:
            return file.read().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{named(path)} is not UTF-8: byte {error.start} is {error.object[error.start]:#04x}"
        ) from None


def split_words(text: Any) -> list[str]:
    """The words of a text in order and in lower case: runs of letters and digits of any script.

    Raises:
        InputError: it is no text, or holds no word.
    """
    if not isinstance(text, str):
        raise InputError(f"a text is needed, got {text!r:.50} of type {type(text).__name__}")
    # An accent and its letter may be two characters, of which the accent is none of a word.
    if not (words := WORD.findall(normalize("NFC", text).lower())):
        raise InputError(f"the text {text!r:.50} holds no word")
    return words
