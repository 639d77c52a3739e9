"""Texts become ids of words that the training texts hold, and what is no text is named."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from pydantic import ValidationError

from bss.data.datasets.dataset import Dataset
from bss.data.kinds.image import Image
from bss.data.kinds.kind import Kind
from bss.data.kinds.text import Text
from bss.data.packed import Meta, open_split
from bss.data.packing.pack import pack
from bss.encoders.encoder import ENCODERS

TEXTS = ["The cat; the DOG", "a cat", "the bird"]
VOCABULARY = ("<pad>", "<unknown>", "the", "cat", "a", "bird", "dog")


def text(**changes: Any) -> Text:
    return Text(**({"length": 4} | changes))


def test_the_vocabulary_is_the_most_frequent_first_then_by_the_alphabet() -> None:
    kind = text()
    assert kind.tokens is None
    assert kind.fitted(TEXTS).tokens == kind.fitted(TEXTS[::-1]).tokens == VOCABULARY
    assert kind.tokens is None, "fitting leaves the kind as it was"


@pytest.mark.parametrize(
    ("value", "ids"),
    [
        ("the cat", [2, 3, 0, 0]),
        ("Dog, dog... DOG!", [6, 6, 6, 0]),
        ("the lion", [2, 1, 0, 0]),
        ("a bird a cat a dog", [4, 5, 4, 3]),
        ("<pad> <unknown>", [1, 1, 0, 0]),
        ("_cat_dog_", [3, 6, 0, 0]),
    ],
)
def test_words_become_their_ids(value: str, ids: list[int]) -> None:
    kind = text().fitted(TEXTS)
    read = kind.read(value)
    assert read.tolist() == ids
    assert read.shape == kind.shape == (4,)
    assert read.dtype == kind.dtype == np.int32


def test_letters_and_digits_of_any_script_are_words() -> None:
    composed, decomposed = "Pi\u00f1ata", "PIN\u0303ATA"
    kind = text().fitted([composed, "42 is 四十二", "Ёж o\u2019clock"])
    assert kind.tokens is not None
    assert set(kind.tokens[2:]) == {"pi\u00f1ata", "42", "is", "四十二", "ёж", "o", "clock"}
    assert kind.read(decomposed).tolist() == kind.read(composed).tolist()


def test_rare_words_are_unknown() -> None:
    assert text(min_count=2).fitted(TEXTS).tokens == VOCABULARY[:4]
    assert text(max_tokens=3).fitted(TEXTS).tokens == VOCABULARY[:3]
    assert text(max_tokens=100).fitted(TEXTS).tokens == VOCABULARY
    assert text(min_count=2).fitted(TEXTS).read("a cat").tolist() == [1, 3, 0, 0]


def test_fitting_again_forgets() -> None:
    kind = text().fitted(TEXTS)
    kind.read("the cat")
    assert kind.fitted(["zebra"]).read("zebra cat").tolist() == [2, 1, 0, 0]


@pytest.mark.parametrize("value", ["", "  ", "+", "_", "\u2026!"])
def test_a_text_without_words_is_refused(value: str) -> None:
    kind = text().fitted(TEXTS)
    for use in (kind.read, kind.exhibit):
        with pytest.raises(ValueError, match="the text '.*' holds no word"):
            use(value)


@pytest.mark.parametrize("value", [None, 3, b"cat", ["cat"], Path("cat")])
def test_what_is_no_text_is_refused(value: Any) -> None:
    kind = text().fitted(TEXTS)
    for use in (kind.read, kind.exhibit):
        with pytest.raises(ValueError, match=f"a text is needed, got .* of type {type(value).__name__}"):
            use(value)


def test_what_cannot_be_read_teaches_nothing() -> None:
    assert text().fitted([*TEXTS, "", None, 3]) == text().fitted(TEXTS)


def test_nothing_to_learn_and_nothing_learned_are_refused() -> None:
    with pytest.raises(ValueError, match="no word is 3 times in the 2 training texts"):
        text(min_count=3).fitted(TEXTS[:2])
    with pytest.raises(ValueError, match="the words were not learned yet"):
        text().read("cat")


@pytest.mark.parametrize("fields", [{"length": 0}, {"min_count": 0}, {"max_tokens": 2}])
def test_fields_out_of_range_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        text(**fields)


def test_a_text_is_shown_as_it_is() -> None:
    exhibit = text(length=1).exhibit("Pi\u00f1ata, o\u2019clock!")
    assert (exhibit.media_type, exhibit.content.decode()) == ("text/plain", "Pi\u00f1ata, o\u2019clock!")


class Words(Dataset):
    """Eight pairs of a text and an image; each split has a word of its own."""

    words: dict[str, str]

    @property
    def modalities(self) -> Mapping[str, Kind]:
        return {"text": Text(length=3), "picture": Image(size=4, channels=1)}

    @property
    def classes(self) -> tuple[str, ...]:
        return ("odd", "even")

    def locate(self) -> Path:
        return Path()

    def items(self, root: Path) -> pl.DataFrame:
        splits = ["train"] * 4 + ["validation"] * 2 + ["test"] * 2
        labels = ["odd", "even"] * 4
        images = np.random.default_rng(0).integers(0, 256, (8, 4, 4)).astype(np.uint8)
        texts = [f"{label} {self.words[split]}" for label, split in zip(labels, splits, strict=True)]
        ids = [f"pair {row}" for row in range(8)]
        return pl.DataFrame(
            {"id": ids, "split": splits, "label": labels, "text": texts, "picture": pl.Series(images)}
        )


def test_packing_learns_the_words_of_the_training_split_alone(tmp_path: Path) -> None:
    dataset = Words(words={"train": "seen", "validation": "new", "test": "last"})
    pack(dataset, tmp_path / "packed")
    arrays = {split: open_split(tmp_path / "packed", split).arrays["text"] for split in dataset.words}
    assert arrays["train"].tolist() == [[4, 2, 0], [3, 2, 0]] * 2
    assert arrays["validation"].tolist() == arrays["test"].tolist() == [[4, 1, 0], [3, 1, 0]]
    modality = Meta.read(tmp_path / "packed").modalities["text"]
    assert modality.tokens == ("<pad>", "<unknown>", "seen", "even", "odd")
    assert (modality.kind, modality.shape, modality.mean, modality.std) == ("text", (3,), 0, 1)
    manifest = pl.read_parquet(tmp_path / "packed" / "test" / "manifest.parquet")
    assert manifest["text"].to_list() == ["odd last", "even last"]
    described = json.loads((tmp_path / "packed" / "meta.json").read_text())
    assert "tokens" not in described["modalities"]["picture"]


def test_its_encoder_takes_what_was_packed(tmp_path: Path) -> None:
    pack(Words(words=dict.fromkeys(("train", "validation", "test"), "word")), tmp_path / "packed")
    modality = Meta.read(tmp_path / "packed").modalities["text"]
    assert ENCODERS.build(modality.encoder).build(modality).dim > 0


def test_training_texts_without_a_word_are_refused(tmp_path: Path) -> None:
    class Silent(Words):
        def items(self, root: Path) -> pl.DataFrame:
            return super().items(root).with_columns(text=pl.lit("..."))

    with pytest.raises(ValueError, match="text of .*: no word is 1 times in the"):
        pack(Silent(words=dict.fromkeys(("train", "validation", "test"), "word")), tmp_path / "packed")
    assert not (tmp_path / "packed").exists()
