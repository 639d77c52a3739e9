"""A small learnable data set of any number of modalities, and the settings to train on it."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import polars as pl

from bss.data.datasets.dataset import Dataset
from bss.data.kinds.image import Image
from bss.data.kinds.kind import Kind
from bss.data.packed import PackedSplit, open_split
from bss.data.packing.pack import pack
from bss.training.settings import RuntimeSettings, Train
from bss.types import Split

SETTINGS = RuntimeSettings(
    device="cpu",
    precision="float32",
    compile=False,
    channels_last=False,
    deterministic=True,
    threads=1,
)
"""Settings of a test that trains: one thread of the CPU."""
TRAIN = Train(
    epochs=8,
    batch_size=16,
    optimizer="adamw",
    lr=0.01,
    weight_decay=1e-4,
    momentum=0.9,
    lr_schedule="cosine",
    keep="best",
)
NUM_SAMPLES = {Split.TRAIN: 96, Split.VALIDATION: 33, Split.TEST: 30}


class Toy(Dataset):
    """Each class brightens another part of a 4 x 4 image; the noise grows with the modality's number."""

    num_modalities: int = 2

    @property
    def modalities(self) -> Mapping[str, Kind]:
        return {f"m{number}": Image(size=4, channels=1) for number in range(self.num_modalities)}

    @property
    def classes(self) -> tuple[str, ...]:
        return ("left", "right", "none")

    def locate(self) -> Path:
        return Path()

    def items(self, root: Path) -> pl.DataFrame:
        generator = np.random.default_rng(0)
        parts = []
        for split, num_samples in NUM_SAMPLES.items():
            labels = np.arange(num_samples) % 3
            columns = {
                name: pl.Series(self._images(labels, 20 + 8 * number, generator), dtype=pl.Array(pl.UInt8, (4, 4)))
                for number, name in enumerate(self.modalities)
            }
            ids = [f"{split}_{row}" for row in range(num_samples)]
            names = [self.classes[label] for label in labels]
            parts.append(pl.DataFrame({"id": ids, "label": names, "split": [split.value] * num_samples, **columns}))
        return pl.concat(parts)

    def _images(self, labels: np.ndarray, noise: float, generator: np.random.Generator) -> np.ndarray:
        images = generator.normal(60, noise, (len(labels), 4, 4))
        images[labels == 0, :, :2] += 80
        images[labels == 1, :, 2:] += 80
        return images.clip(0, 255).astype(np.uint8)


def packed_toy(folder: Path, num_modalities: int = 2) -> dict[Split, PackedSplit]:
    """The toy data set, packed into a folder and opened."""
    pack(Toy(num_modalities=num_modalities), folder)
    return {split: open_split(folder, split) for split in Split}
