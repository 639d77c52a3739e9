"""Training pairs from three places of the order, as a person can see and hear them."""

from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

import polars as pl

from bss.data.datasets._damage import LABEL, TRUE_LABEL
from bss.data.datasets.dataset import Damage
from bss.data.kinds.kind import Kind
from bss.data.packed import PackedSplit
from bss.data.packing.blocks import raw_values
from bss.evaluation.grid.strips import strip
from bss.evaluation.page.section import Example, Shown

MAX_BYTES = 200_000
"""A larger exhibit is left out, so that the page stays one that opens on a phone."""
PLACES = ("most", "median", "least")
"""Where a pair stands in the order from the most to the least balanced."""
INTACT, DAMAGED = ("", "none", "false", "no", "0", "0.0", "nan"), ("true", "yes", "1", "1.0")
"""How a flag is written that says whether a pair is damaged."""


Drawing = Callable[[int], Shown]
"""From the index of a training pair to its picture."""
Damages = Callable[[pl.DataFrame, str], list[Damage | None]]
"""From some rows of the manifest and a modality to what was done to their values, see `Dataset.damages`."""
FEW = 8
"""So many numbers are read as words; more of them are drawn."""


@dataclass(frozen=True)
class TrainingPairs:
    """The pairs of the training split, and what it takes to show one."""

    manifest: pl.DataFrame
    """index, id, class, a column a modality, maybe `damaged` and `true_label`."""
    kinds: Mapping[str, Kind]
    """Modality -> kind."""
    root: Path
    """Folder that the paths in the manifest start from."""
    drawings: Mapping[str, Drawing] = field(default_factory=dict)
    """See `drawings`; a modality that has none is shown as its kind exhibits it."""
    damages: Damages | None = None
    """Of the data set: what was done to the values as they were read."""

    def shown(self, chosen: pl.DataFrame) -> tuple[Example, ...]:
        """A card for each row of `chosen`: index, balance_score, place and maybe `remark`."""
        manifest, kinds = self.manifest, self.kinds
        pairs = chosen.join(manifest.with_columns(damage(manifest)), on="index", maintain_order="left")
        values = {name: raw_values(pairs[name], self.root, paths=kind.paths) for name, kind in kinds.items()}
        done = {name: self.damages(pairs, name) if self.damages else [None] * len(pairs) for name in kinds}
        return tuple(
            Example(
                id=str(pair["id"]),
                class_name=str(pair["class"]),
                score=pair["balance_score"],
                place=pair["place"],
                damage=_words(pair),
                modalities=tuple(
                    self.drawings[name](pair["index"])
                    if name in self.drawings and values[name][row] is not None
                    else _shown(name, kind, values[name][row], done[name][row])
                    for name, kind in kinds.items()
                ),
                remark=pair.get("remark", ""),
            )
            for row, pair in enumerate(pairs.drop(list(kinds)).iter_rows(named=True))
        )


def examples(scores: pl.DataFrame, pairs: TrainingPairs, num: int) -> tuple[Example, ...]:
    """The `num` most balanced pairs, best first, as many around the median, and the least, worst first; first seed.

    Args:
        scores: columns seed, index, balance_score.
        pairs: of the training split.
        num: shown at each place; no pair is shown twice.
    """
    first = scores.filter(pl.col("seed") == pl.col("seed").min()).select("index", "balance_score")
    ranked = first.sort("balance_score", "index", descending=[True, False])
    num = min(num, ranked.height // 3)
    groups = (ranked.head(num), ranked.slice((ranked.height - num) // 2, num), ranked.tail(num).reverse())
    placed = [group.with_columns(place=pl.lit(place)) for place, group in zip(PLACES, groups, strict=True)]
    return pairs.shown(pl.concat(placed))


def drawings(split: PackedSplit, kinds: Mapping[str, Kind]) -> dict[str, Drawing]:
    """Modality -> how a pair of the split is drawn, for modalities of more numbers than a person reads as words."""

    def of(name: str) -> Drawing:
        about, array = split.meta.modalities[name], split.arrays[name]
        return lambda index: strip(name, array[index], about.mean, about.std)

    return {name: of(name) for name, kind in kinds.items() if kind.by_number and prod(kind.shape) > FEW}


def damage(manifest: pl.DataFrame) -> pl.Series:
    """What was damaged in each pair, in words; empty for intact pairs. `damaged` is a flag or says what.

    A flag may be written in any way that a table of text has, such as `False` or 0.
    """
    if "damaged" not in manifest.columns:
        return pl.Series("damage", [""] * manifest.height, dtype=pl.String)
    words = manifest["damaged"].cast(pl.String).fill_null("").str.strip_chars().to_list()
    flags = dict.fromkeys(INTACT, "") | dict.fromkeys(DAMAGED, "damaged")
    return pl.Series("damage", [flags.get(word.casefold(), word) for word in words], dtype=pl.String)


def _words(pair: Mapping[str, Any]) -> str:
    """What was damaged in a pair; of a wrong label also what would be right."""
    right = pair.get(TRUE_LABEL)
    return f"{pair['damage']}, right is {right}" if right is not None and pair["damage"] == LABEL else pair["damage"]


def _shown(modality: str, kind: Kind, value: Any, damage: Damage | None) -> Shown:
    if value is None or (damage and damage.is_blank):
        return Shown(modality, "text", "missing" if value is None else "blank")
    value = damage.noisy(kind, value) if damage else value
    exhibit = kind.exhibit(value)
    media, size = exhibit.media_type.partition("/")[0], len(exhibit.content)
    if size > MAX_BYTES:
        return Shown(modality, "text", f"left out: {size / 1e6:.1f} MB of {exhibit.media_type}")
    if media in ("image", "audio"):
        address = f"data:{exhibit.media_type};base64,{b64encode(exhibit.content).decode()}"
        return Shown(modality, media, address)
    return Shown(modality, "text", exhibit.content.decode("utf-8", errors="replace"))
