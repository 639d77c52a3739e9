"""`twitter2015`: the sentiment towards something that is named in a tweet with a picture.

Twitter-15 as annotated for TomBERT (Yu and Jiang 2019): https://github.com/jefferyYu/TomBERT. The tweets and pictures
are their authors'; the publisher hands them out for research.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from bss.data.datasets._collected import Layout, Tweets, broken, lines
from bss.errors import InputError
from bss.types import Split

if TYPE_CHECKING:
    import polars as pl

SENTIMENTS = ("negative", "neutral", "positive")
"""Sentiments by their number in the lists."""
PARTS = {Split.TRAIN: "train", Split.VALIDATION: "dev", Split.TEST: "test"}
IMAGES, TARGET = "twitter2015_images", "$T$"
LABEL, IMAGE, TEXT = "Label", "ImageID", "String"


class Twitter2015(Tweets):
    """3,197 / 1,122 / 1,037 pairs, the published splits.

    A tweet is one pair for each thing that is named in it. The defaults are those of the published loaders: 20 words,
    a picture of 224 pixels.
    """

    layouts: ClassVar[Mapping[str, Layout]] = {
        "publisher": Layout(
            (*(f"{part}.tsv" for part in PARTS.values()), IMAGES),
            "as handed out: {train,dev,test}.tsv with the columns index, #1 Label, #2 ImageID, #3 String, #3 String, "
            f"{IMAGES}/",
        ),
        "annotations": Layout(
            (*(f"annotations/{part}.tsv" for part in PARTS.values()), IMAGES),
            f"published loaders: annotations/{{train,dev,test}}.tsv with columns Label, ImageID, String, {IMAGES}/",
        ),
    }
    origin: ClassVar[str] = "Twitter-15 comes from https://github.com/jefferyYu/TomBERT (for research)"
    length: int = Field(default=20, ge=1)

    @property
    def _notes(self) -> tuple[str, ...]:
        """Who drew the splits, and what replaces the placeholder."""
        return (
            "The three splits are the published ones.",
            f"The placeholder {TARGET} is replaced by what it stands for.",
        )

    @property
    def classes(self) -> tuple[str, ...]:
        """The three sentiments."""
        return SENTIMENTS

    def items(self, root: Path) -> "pl.DataFrame":
        """The rows of the lists, with the column `target`: what the sentiment is towards."""
        import polars as pl

        folder = root if self.layout(root) == "publisher" else root / "annotations"
        listed = [row for split, part in PARTS.items() for row in read_list(folder / f"{part}.tsv", split)]
        return pl.DataFrame(
            listed, schema=dict.fromkeys(("id", "label", "split", "image", "text", "target"), pl.String), orient="row"
        )


def read_list(path: Path, split: Split) -> Iterator[tuple[str, str, str, str, str, str | None]]:
    """Id, label, split, picture, text and target of each row; a list without targets loses the placeholder.

    Raises:
        InputError: a column is missing or a line is broken; the message has the line.
    """
    numbered = lines(path)
    _, first_line = next(numbered, (0, ""))
    header = [name.rpartition(" ")[2] for name in first_line.strip("\r").split("\t")]
    if missing := [name for name in (LABEL, IMAGE, TEXT) if name not in header]:
        raise InputError(f"{path}: no column '{missing[0]}' (there are: {', '.join(header)})")
    texts = [place for place, name in enumerate(header) if name.startswith(TEXT)]
    for number, line in numbered:
        cells = [cell.strip() for cell in line.split("\t")]
        if len(cells) != len(header) or cells[header.index(LABEL)] not in ("0", "1", "2"):
            raise broken(path, number, line, f"{len(header)} columns with a label of 0, 1 or 2")
        target = cells[texts[1]] if len(texts) > 1 else None
        sentiment = SENTIMENTS[int(cells[header.index(LABEL)])]
        text = cells[texts[0]].replace(TARGET, target or "")
        yield (
            f"{PARTS[split]}-{number}",
            sentiment,
            split.value,
            f"{IMAGES}/{cells[header.index(IMAGE)]}",
            text,
            target,
        )
