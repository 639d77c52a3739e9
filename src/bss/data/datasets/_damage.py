"""Knobs that make a data set harder, each on a pair's items."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field

from bss.data.datasets.dataset import Damage, Dataset
from bss.seeds import generator, integer
from bss.types import Split

if TYPE_CHECKING:
    import polars as pl


DamageKind = Literal["swap", "noise", "blank", "label"]
LABEL, TRUE_LABEL = "label", "true_label"
"""What is damaged where it is no modality, and the column that then has the classes as they were."""


class Damageable(Dataset):
    """A data set of which training pairs can be damaged on purpose; its `items` pass through `damaged`."""

    damage: float = Field(default=0.0, ge=0, le=1)
    """Fraction of the training pairs that are damaged."""
    damage_kind: DamageKind = "swap"
    """What is wrong with them. One modality: `swap`, it is of another pair; `noise`, under noise of its own power
    (0 dB); `blank`, it says nothing. Or `label`: the label, which is another class, drawn evenly."""
    seed: int = Field(default=0, ge=0)
    """Seed of the damage, and of nothing else."""

    def damaged(self, items: "pl.DataFrame") -> "pl.DataFrame":
        """The items with the damage that the fields say, and the column `damaged`, see `damage`."""
        return damage(items, tuple(self.modalities), self.damage, self.seed, self.damage_kind, self.classes)

    def damages(self, items: "pl.DataFrame", modality: str) -> "list[Damage | None]":
        """The noise of each pair has a seed of its own, so that it hangs on no other pair."""
        if self.damage_kind not in ("noise", "blank"):
            return super().damages(items, modality)
        return [
            Damage(self.damage_kind == "blank", integer(self.seed, f"{modality} of {identity}"))
            if damaged == modality
            else None
            for identity, damaged in items.select("id", "damaged").iter_rows()
        ]


def damage(
    items: "pl.DataFrame",
    modalities: Sequence[str],
    fraction: float,
    seed: int,
    kind: DamageKind = "swap",
    classes: Sequence[str] = (),
) -> "pl.DataFrame":
    """`items` with `fraction` of the training pairs damaged, and a column `damaged`: what is wrong, or null.

    The pairs are drawn at random, the same ones for every kind, and shared out evenly over the modalities, in their
    order; `damaged` names the modality. Of `swap`, each modality's values are permuted among its share: a permuted
    value may by chance be one of the right class, or stay where it was. Of `noise` and `blank` the values change when
    they are read, and here only `damaged` does. Of `label`, `damaged` is "label", and a column `true_label` holds the
    class of every pair as it was. Validation and test pairs are left alone.

    Args:
        items: the pairs, as `Dataset.items` returns them.
        modalities: their columns.
        fraction: of the training pairs, in 0 .. 1.
        seed: of the draw.
        kind: of the damage.
        classes: two or more, that a wrong label is one of.
    """
    import polars as pl

    draw = generator(seed, "damage")
    train = np.flatnonzero(items["split"].to_numpy() == Split.TRAIN)
    chosen = draw.permutation(train)[: round(fraction * len(train))]
    damaged = np.full(len(items), None, dtype=object)
    columns = []
    for name, share in zip(modalities, np.array_split(chosen, len(modalities)), strict=True):
        damaged[share] = LABEL if kind == "label" else name
        if kind == "swap":
            source = np.arange(len(items))
            source[share] = draw.permutation(share)
            columns.append(items[name].gather(source))
    if kind == "label":
        labels = items[LABEL].to_numpy().copy()
        labels[chosen] = other_classes(labels[chosen], classes, draw)
        columns += [pl.Series(LABEL, labels.tolist()), items[LABEL].alias(TRUE_LABEL)]
    return items.with_columns(*columns, pl.Series("damaged", damaged.tolist(), dtype=pl.String))


def other_classes(labels: np.ndarray, classes: Sequence[str], draw: np.random.Generator) -> np.ndarray:
    """For each label (N,) one of the other classes, each as likely as any, (N,)."""
    own = np.array([classes.index(label) for label in labels], np.int64)
    others: np.ndarray = (own + draw.integers(1, len(classes), len(own))) % len(classes)
    return np.asarray(np.array(classes, object)[others])


def project(items: "pl.DataFrame", modality: str, num_components: int | None) -> "pl.DataFrame":
    """`items` with the images (H, W) of a modality projected onto their first principal components.

    The components are fitted on the training pairs; the result is rounded to 0 .. 255 and remains an image.

    Args:
        items: the pairs; the modality's column holds arrays of bytes.
        modality: the column.
        num_components: how many are kept; None leaves the images as they are.
    """
    import polars as pl
    from sklearn.decomposition import PCA

    if num_components is None:
        return items
    pixels = items[modality].to_numpy()
    flat = pixels.reshape(len(items), -1).astype(np.float64)
    train = items["split"].to_numpy() == Split.TRAIN
    components = PCA(num_components, svd_solver="covariance_eigh").fit(flat[train])
    projected = components.inverse_transform(components.transform(flat))
    values = projected.round().clip(0, 255).astype(np.uint8).reshape(pixels.shape)
    return items.with_columns(pl.Series(modality, values))
