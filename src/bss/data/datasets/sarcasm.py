"""`sarcasm`: tweets with a picture, sarcastic or not.

Cai, Cai and Wan (2019): https://github.com/headacheboy/data-of-multimodal-sarcasm-detection, with a link to the
pictures. The tweets are their authors'; there is no licence.
"""

import ast
import json
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from bss.data.datasets._collected import Layout, Tweets, broken, first, lines
from bss.errors import InputError
from bss.types import Split

if TYPE_CHECKING:
    import polars as pl

Row = tuple[str, str, str, str, str]
"""Id, label, split, picture and text."""
LISTS = {
    Split.TRAIN: "text/train.txt|train.txt",
    Split.VALIDATION: "text/valid2.txt|valid2.txt|text/valid.txt|valid.txt",
    Split.TEST: "text/test2.txt|test2.txt|text/test.txt|test.txt",
}
JSON = {
    Split.TRAIN: "annotations/train_data.json|train.json",
    Split.VALIDATION: "annotations/valid_data.json|annotations/val_data.json|valid.json|val.json",
    Split.TEST: "annotations/test_data.json|test.json",
}
IMAGES = "dataset_image|images"
CLASSES = ("plain", "sarcastic")
TELLING = frozenset(
    ("sarcasm", "sarcastic", "reposting", "<url>", "joke", "jokes", "humour", "humor", "irony", "ironic", "exgag")
)
"""Words that tell the label; the publisher leaves out the tweets with one of them."""


class Sarcasm(Tweets):
    """19,816 / 2,410 / 2,409 pairs, the published splits.

    The defaults are those of the published loaders: 30 words, a picture of 224 pixels.
    """

    layouts: ClassVar[Mapping[str, Layout]] = {
        "lists": Layout(
            (*LISTS.values(), IMAGES),
            "as handed out: text/{train,valid2,test2}.txt with lines ['ID', 'TEXT', LABEL], dataset_image/ID.jpg",
        ),
        "json": Layout(
            (*JSON.values(), IMAGES),
            "published loaders: annotations/{train,valid,test}_data.json with {image, text, label}, images/ID.jpg",
        ),
    }
    origin: ClassVar[str] = "It comes from https://github.com/headacheboy/data-of-multimodal-sarcasm-detection"
    label: Literal["human", "hashtag"] = "human"
    """Which of two labels of a line counts: a person's (the last), as published, or that of the author's hashtag."""
    drop_telling: bool = True
    """Whether tweets with a word that tells the label are left out, as published."""

    @property
    def _notes(self) -> tuple[str, ...]:
        """Who drew the splits, whose labels they are, and which tweets are left out."""
        left_out = ("Tweets with a word such as 'sarcasm' or 'joke' are left out, as published.",)
        return (
            "The three splits are the published ones.",
            f"Where a tweet of validation or test has two labels, it is that by {self.label}.",
            *(left_out if self.drop_telling else ()),
        )

    @property
    def classes(self) -> tuple[str, ...]:
        """0 and 1 of the lists."""
        return CLASSES

    def items(self, root: Path) -> "pl.DataFrame":
        """The rows of the lists, in their order."""
        import polars as pl

        listed = self._listed(root) if self.layout(root) == "lists" else from_json(root)
        kept = [row for row in listed if not (self.drop_telling and TELLING & set(row[-1].split()))]
        names = ("id", "label", "split", "image", "text")
        return pl.DataFrame(kept, schema=dict.fromkeys(names, pl.String), orient="row")

    def _listed(self, root: Path) -> Iterator[Row]:
        place = -1 if self.label == "human" else 0
        for split, need in LISTS.items():
            path = root / str(first(root, need))
            for number, line in lines(path):
                identity, text, *labels = literal(path, number, line)
                yield identity, CLASSES[labels[place]], split.value, f"{first(root, IMAGES)}/{identity}.jpg", text


def literal(path: Path, number: int, line: str) -> tuple[Any, ...]:
    """Id, text and one or two labels of a line.

    Raises:
        InputError: it is no such list; the message has the line.
    """
    try:
        entry = ast.literal_eval(line.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        entry = None
    is_entry = isinstance(entry, list) and len(entry) in (3, 4) and isinstance(entry[1], str)
    if not is_entry or any(type(label) is not int or label not in (0, 1) for label in entry[2:]):
        raise broken(path, number, line, "['ID', 'TEXT', LABEL] or two labels of 0 or 1")
    return str(entry[0]), *entry[1:]


def from_json(root: Path) -> Iterator[Row]:
    """The rows of the JSON lists; of a picture's path the name counts.

    Raises:
        InputError: it is no list of such objects; the message has the number of the entry.
    """
    for split, need in JSON.items():
        path = root / str(first(root, need))
        try:
            entries = list(json.loads(path.read_text(encoding="utf-8")))
        except (TypeError, ValueError) as error:
            raise InputError(f"{path}: no list in JSON: {error}") from None
        for number, entry in enumerate(entries, 1):
            try:
                name, text, label = PurePosixPath(entry["image"]).name, str(entry["text"]), int(entry["label"])
            except (KeyError, TypeError, ValueError):
                label = -1
            if label not in (0, 1):
                raise InputError(
                    f"{path}, entry {number}: image, text and a label of 0 or 1 are needed: {entry!r:.80}"
                )
            yield PurePosixPath(name).stem, CLASSES[label], split.value, f"{first(root, IMAGES)}/{name}", text
