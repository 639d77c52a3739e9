"""What the warm-up says of the pairs: scores, and how sure each modality is of the labels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from safetensors import safe_open

from bss.data.packed import MANIFEST, Meta
from bss.evaluation.artifacts import read_table
from bss.files import existing
from bss.paths import Workspace
from bss.types import Split


@dataclass(frozen=True)
class WarmedUp:
    """What the warmed-up models of all seeds say of the pairs."""

    scores: pl.DataFrame
    """A row a seed and training pair: seed, index, id, label, balance_score."""
    held_out: pl.DataFrame
    """A row a seed and validation pair: seed, balance_score, in the scale of the training pairs."""
    manifest: pl.DataFrame
    """A row a training pair: index, label, class."""
    train: pl.DataFrame
    """A row a seed and training pair: seed, index, and of each modality the probability of the true class."""
    validation: pl.DataFrame
    """The same of the validation pairs."""
    modalities: Sequence[str]
    history: pl.DataFrame | None = None
    """Of the trainings, where the grid was run."""

    @property
    def confidences(self) -> dict[str, float]:
        """Modality -> the mean probability that its own output gives to the true class of validation pairs."""
        return {name: float(self.validation[name].to_numpy().mean()) for name in self.modalities}

    @property
    def lead(self) -> tuple[str, float]:
        """The surest modality, and its confidence by the mean of the others'."""
        leader = max(self.confidences, key=self.confidences.__getitem__)
        others = [mean for name, mean in self.confidences.items() if name != leader]
        return leader, self.confidences[leader] / (sum(others) / len(others))


def read_warmed_up(places: Mapping[int, Workspace]) -> WarmedUp:
    """What the warm-up of every seed has left, from seed -> the workspace that it was run in."""
    first = next(iter(places.values()))
    meta = Meta.read(first.packed)
    train, validation = (
        pl.concat([_confidences(place.evidence(seed, split), seed, meta) for seed, place in places.items()])
        for split in (Split.TRAIN, Split.VALIDATION)
    )
    return WarmedUp(
        scores=pl.concat([of_seed(place.scores(seed), seed) for seed, place in places.items()]),
        held_out=pl.concat([of_seed(place.held_out(seed), seed) for seed, place in places.items()]),
        manifest=read_table(first.packed / Split.TRAIN / MANIFEST),
        train=train,
        validation=validation,
        modalities=tuple(meta.modalities),
    )


def _confidences(path: Path, seed: int, meta: Meta) -> pl.DataFrame:
    """A row a sample: seed, index, and of each modality the probability that its own output gives the true class."""
    with safe_open(existing(path), "np") as evidence:
        labels = evidence.get_tensor("labels")
        columns = {}
        for name in meta.modalities:
            logits = evidence.get_tensor(f"logits.{name}").astype(np.float64)
            shares = np.exp(logits - logits.max(axis=1, keepdims=True))
            columns[name] = shares[np.arange(len(labels)), labels] / shares.sum(axis=1)
    return pl.DataFrame(columns).with_row_index("index").with_columns(seed=pl.lit(seed))


def of_seed(path: Path, seed: int) -> pl.DataFrame:
    """A table of scores with the seed that they are of."""
    return read_table(path).with_columns(seed=pl.lit(seed))
