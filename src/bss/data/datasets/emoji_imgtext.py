"""`emoji_imgtext`: emoji as pictures paired with their English names or keywords, 1,906 native pairs.

Pictures: Twemoji (Twitter, Inc and other contributors, CC BY 4.0), 72 x 72, mostly transparent. Names, keywords
and groups: Emojibase (Miles Johnson, MIT). Both as collected in twemoji-assets (Tim Hesse, MIT). Skin tones and
the group of components are left out.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from bss.data.datasets._damage import Damageable
from bss.data.datasets._fetch import Source, obtain, raw_folder
from bss.data.kinds.image import Image
from bss.data.kinds.kind import Kind
from bss.data.kinds.text import WORD, Text, split_words
from bss.seeds import generator
from bss.types import Split

if TYPE_CHECKING:
    import polars as pl

COMMIT = "9ee6e4b252b5c3038bfda9f9bd41cce3e48a34b8"

PICTURES = Source(
    address=f"https://github.com/cptpiepmatz/twemoji-assets/archive/{COMMIT}.zip",
    path="assets/72x72",
    sha256="ec155440be0e377319ded4dc16d2b9344fc7afd6d2de48bf452876bece7d1136",
    members="*/assets/72x72/*.png",
)
WORDS = Source(
    address=f"https://raw.githubusercontent.com/cptpiepmatz/twemoji-assets/{COMMIT}/emojibase.data.json",
    path="emojibase.data.json",
    sha256="edee0a14bd67522de4666e32937ee4366254730544c9e64d955adecc789e6d96",
)
GROUPS = {
    0: "smileys-emotion",
    1: "people-body",
    3: "animals-nature",
    4: "food-drink",
    5: "travel-places",
    6: "activities",
    7: "objects",
    8: "symbols",
    9: "flags",
}
"""Emojibase's number and name of each group; 2 are components."""
LENGTHS = {"name": 8, "keywords": 17, "both": 24}
"""Words of the longest text; none is cut."""
SPLIT_SEED = 0
VARYING = frozenset(
    split_words(
        "man men woman women person people boy girl child adult male female old older "
        "0 1 2 3 4 5 6 7 8 9 10 one two three four five six seven eight nine ten eleven twelve thirty o clock "
        "red orange yellow green blue purple brown pink black grey white light dark small medium large "
        "left right up down leftwards rightwards upwards downwards facing"
    )
)
"""Words of a name that tell variants of one drawing apart."""


class EmojiImgText(Damageable):
    """1,636 pairs in eight classes, 1,145 / 163 / 328; with the flags 1,906 in nine, 1,334 / 190 / 382.

    A class is a group of Emojibase. About 70 % of each class are train, 10 % validation and 20 % test, drawn once
    and for all. Emoji whose names differ only in sex, age, number, colour, size or direction are often the same
    drawing to the pixel, and stay in one split: "man running" and "woman running", 24 clock faces, nine circles.
    """

    sources: ClassVar[tuple[Source, ...]] = (PICTURES, WORDS)
    notes: ClassVar[tuple[str, ...]] = (
        "A picture and its words are of the same emoji: the pairs are native.",
        "Emoji whose names differ only in sex, age, number, colour, size or direction are in one split.",
        "Pictures: Twemoji, by Twitter, Inc and other contributors, CC BY 4.0.",
    )
    text: Literal["name", "keywords", "both"] = "name"
    """`keywords` tell more than a name: with them the words are much the stronger modality."""
    flags: bool = False
    """Whether the flags are a ninth class, an easy one: their names have the word "flag" in them."""
    image_size: int = Field(default=36, ge=8, le=72)
    """Pixels a side; 72 are published."""

    @property
    def modalities(self) -> Mapping[str, Kind]:
        """The picture and its words."""
        return {"image": Image(size=self.image_size), "text": Text(length=LENGTHS[self.text])}

    @property
    def classes(self) -> tuple[str, ...]:
        """The groups."""
        return tuple(name for name in GROUPS.values() if self.flags or name != "flags")

    def locate(self) -> Path:
        """The folder of the published files; the archive of the collection is fetched where it is missing."""
        return obtain(self.sources, raw_folder(self.name))

    def items(self, root: Path) -> "pl.DataFrame":
        """The pairs in the order of Emojibase, with the columns `damaged`, `name` and `motif`."""
        import polars as pl

        entries = [
            entry
            for entry in json.loads((root / WORDS.path).read_text(encoding="utf-8"))
            if GROUPS.get(entry.get("group")) in self.classes
        ]
        groups, names = [entry["group"] for entry in entries], [entry["label"] for entry in entries]
        motifs = [motif(name) for name in names]
        items = pl.DataFrame(
            {
                "id": [entry["hexcode"].lower() for entry in entries],
                "label": [GROUPS[group] for group in groups],
                "split": by_motif(groups, motifs),
                "image": [f"{PICTURES.path}/{file_name(entry['hexcode'])}" for entry in entries],
                "text": [self._text(entry) for entry in entries],
            }
        )
        items = self.damaged(items)
        return items.with_columns(pl.Series("name", names), pl.Series("motif", motifs))

    def _text(self, entry: Mapping[str, Any]) -> str:
        name, keywords = entry["label"], ", ".join(entry["tags"])
        if self.text == "both":
            return f"{name}: {keywords}"
        # The only keyword of "plus" is a plus sign.
        return keywords if self.text == "keywords" and WORD.search(keywords) else str(name)


def file_name(hexcode: str) -> str:
    """The picture of an emoji: its code points in lower case without leading zeros, joined by hyphens.

    The selector fe0f is named only in sequences with the joiner 200d, and not in the eye in a speech bubble.
    """
    points = [point.lstrip("0") for point in hexcode.lower().split("-")]
    if "200d" not in points or points[0] == "1f441":
        points = [point for point in points if point != "fe0f"]
    return f"{'-'.join(points)}.png"


def motif(name: str) -> str:
    """The words of a name but for sex, age, number, colour, size and direction; emoji of one motif look alike."""
    return " ".join(word for word in split_words(name) if word not in VARYING)


def by_motif(groups: Sequence[int], motifs: Sequence[str]) -> list[str]:
    """The split of each pair: about 20 % of each group are test and 10 % validation, no motif of a group is in two.

    The motifs are taken at random; each goes to test while it fits there and takes at most a quarter of the
    place, else by the same rule to validation, else to train.
    """
    splits = [Split.TRAIN.value] * len(groups)
    for group in sorted(set(groups)):
        members: dict[str, list[int]] = {}
        for row, other in enumerate(groups):
            if other == group:
                members.setdefault(motifs[row], []).append(row)
        num_rows = groups.count(group)
        place = {Split.TEST: round(0.2 * num_rows), Split.VALIDATION: round(0.1 * num_rows)}
        free = dict(place)
        for chosen in generator(SPLIT_SEED, "split of emoji_imgtext", group).permutation(sorted(members)):
            rows = members[chosen]
            fitting = (split for split, size in place.items() if len(rows) <= min(free[split], size / 4))
            if (split := next(fitting, None)) is not None:
                free[split] -= len(rows)
                for row in rows:
                    splits[row] = split.value
    return splits
