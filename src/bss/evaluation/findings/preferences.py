"""What the balance score has found: damaged pairs, where they are known, and classes that it prefers."""

import numpy as np
import polars as pl

from bss.evaluation.grid.examples import damage
from bss.evaluation.judging.metrics import detection_auc


def detection_areas(scores: pl.DataFrame, manifest: pl.DataFrame) -> list[float]:
    """The area under the ROC curve of finding damaged pairs by a low score, a seed each, see `detection_auc`.

    Empty where the manifest knows of no damaged pair, or of no intact one.
    """
    pairs = scores.join(manifest.select("index", damage(manifest)), on="index", how="inner").sort("seed", "index")
    is_damaged = pairs["damage"] != ""
    if is_damaged.all() or not is_damaged.any():
        return []
    by_seed = pairs.with_columns(is_damaged=is_damaged).group_by("seed", maintain_order=True)
    return [detection_auc(group["balance_score"], group["is_damaged"]) for _, group in by_seed]


def class_share(scores: pl.DataFrame, manifest: pl.DataFrame) -> list[float]:
    """The share in [0, 1] of the score's variance that lies between classes, a seed each.

    Epsilon squared: corrected for what as many groups share by chance, so that it is about 0 for a score that knows
    nothing of the class, however many classes there are. Source: Kelley (1935).
    """
    pairs = scores.select("seed", "index", "balance_score").join(manifest.select("index", "class"), on="index")
    return [_share(group) for _, group in pairs.sort("seed", "index").group_by("seed", maintain_order=True)]


def _share(pairs: pl.DataFrame) -> float:
    score = pl.col("balance_score")
    within = float(pairs.select((score - score.mean().over("class")).pow(2).sum()).item())
    total = float(pairs.select((score - score.mean()).pow(2).sum()).item())
    num_pairs, num_classes = pairs.height, pairs["class"].n_unique()
    if total == 0 or num_pairs <= num_classes:
        return 0.0
    return float(np.clip(1 - within / total * (num_pairs - 1) / (num_pairs - num_classes), 0, 1))


def class_means(scores: pl.DataFrame, manifest: pl.DataFrame) -> list[tuple[str, float]]:
    """Class and its mean score over pairs and seeds, the preferred class first."""
    pairs = scores.select("index", "balance_score").join(manifest.select("index", "label", "class"), on="index")
    means = pairs.group_by("label", "class").agg(pl.col("balance_score").mean())
    return list(
        means.sort("balance_score", "label", descending=[True, False]).select("class", "balance_score").iter_rows()
    )
