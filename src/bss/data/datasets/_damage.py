"""Knobs that make a data set harder, each on a pair's items."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from bss.seeds import generator
from bss.types import Split

if TYPE_CHECKING:
    import polars as pl


def damage(items: "pl.DataFrame", modalities: Sequence[str], fraction: float, seed: int) -> "pl.DataFrame":
    """`items` with `fraction` of the training pairs damaged, and a column `damaged`: the modality, or null.

    The pairs are drawn at random and shared out evenly over the modalities, in their order; each modality's
    values are permuted among its share. A permuted value may by chance be one of the right class, or stay
    where it was. Validation and test pairs are left alone.

    Args:
        items: the pairs, as `Dataset.items` returns them.
        fraction: of the training pairs, in 0 .. 1.
        seed: of the draw.
    """
    import polars as pl

    draw = generator(seed, "damage")
    train = np.flatnonzero(items["split"].to_numpy() == Split.TRAIN)
    chosen = draw.permutation(train)[: round(fraction * len(train))]
    source = {name: np.arange(len(items)) for name in modalities}
    damaged = np.full(len(items), None, dtype=object)
    for name, share in zip(modalities, np.array_split(chosen, len(modalities)), strict=True):
        source[name][share] = draw.permutation(share)
        damaged[share] = name
    columns = [items[name].gather(rows) for name, rows in source.items()]
    return items.with_columns(*columns, pl.Series("damaged", damaged.tolist(), dtype=pl.String))


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
