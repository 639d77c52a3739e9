"""Forty pairs of a sound and a picture, in files, and the table that lists them."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import soundfile
from PIL import Image as Pictures

from bss.data.datasets.dataset import DATASETS, Dataset

SOUND = {"name": "audio", "sample_rate": 8000, "seconds": 0.1, "n_fft": 64, "hop_length": 64, "length": "pad"}
PICTURE = {"name": "image", "size": 4}
KINDS = {"sound": SOUND, "picture": PICTURE}
NUM_ROWS = 40


def make_pairs(folder: Path) -> Path:
    """Forty pairs of files, two classes, ten speakers, and pairs.csv."""
    generator = np.random.default_rng(0)
    for row in range(NUM_ROWS):
        soundfile.write(folder / f"{row}.wav", 0.1 * generator.normal(size=700 + row), 8000)
        Pictures.fromarray(generator.integers(0, 256, (5, 6, 3), dtype=np.uint8)).save(folder / f"{row}.png")
    write(folder, rows())
    return folder


def rows() -> pl.DataFrame:
    numbers = range(NUM_ROWS)
    return pl.DataFrame(
        {
            "id": [f"clip {row}" for row in numbers],
            "sound": [f"{row}.wav" for row in numbers],
            "picture": [f"{row}.png" for row in numbers],
            "label": ["happy" if row % 2 else "sad" for row in numbers],
            "split": ["test" if row < 8 else "dev" if row < 12 else "train" for row in numbers],
            "speaker": [f"speaker {row // 4}" for row in numbers],
        }
    )


def write(folder: Path, table: pl.DataFrame) -> None:
    table.write_csv(folder / "pairs.csv")


def manifest(folder: Path, **fields: Any) -> Dataset:
    built: Dataset = DATASETS.build({"name": "manifest", "file": str(folder / "pairs.csv"), "kinds": KINDS, **fields})
    return built
