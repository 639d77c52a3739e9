"""Made-up clips in the shape of CREMA-D: speech-like noise in 2.5 s WAV files, and 480 x 360 JPEG frames."""

from collections.abc import Mapping
from pathlib import Path
from typing import Self

import numpy as np
import polars as pl

from bss.data.datasets.dataset import Dataset
from bss.data.kinds.audio import Audio
from bss.data.kinds.image import Image
from bss.data.kinds.kind import Kind

RATE, SECONDS = 16_000, 2.5
NUM_PAIRS = {"validation": 6, "test": 6}


class CremadShaped(Dataset):
    """Each class has its own pitch and its own colour."""

    folder: Path
    num_train: int
    seconds: float = 20
    side: int = 224

    @classmethod
    def of(cls, folder: Path, num_train: int, *, quick: bool) -> Self:
        """The full sizes, or small ones to try a benchmark out."""
        size = {"seconds": 1.0, "side": 32} if quick else {}
        return cls.model_validate({"folder": folder, "num_train": num_train, **size})

    @property
    def modalities(self) -> Mapping[str, Kind]:
        """By default the published sizes: 257 x 1250 of a clip tiled to 20 s, and one frame of 224 x 224."""
        audio = Audio(sample_rate=22_050, seconds=self.seconds, n_fft=512, hop_length=353, length="tile")
        return {"audio": audio, "image": Image(size=self.side)}

    @property
    def classes(self) -> tuple[str, ...]:
        """Six, as there are emotions."""
        return tuple("abcdef")

    def locate(self) -> Path:
        """The folder of the clips."""
        return self.folder

    def items(self, root: Path) -> pl.DataFrame:
        """The clips, written where they are missing."""
        rows = []
        for split, num_pairs in {"train": self.num_train, **NUM_PAIRS}.items():
            for number in range(num_pairs):
                name, label = f"{split}_{number}", number % 6
                if not (root / f"{name}.wav").exists():
                    _write(root / name, label, np.random.default_rng([len(split), number]))
                rows.append((name, self.classes[label], split, f"{name}.wav", f"{name}.jpg"))
        return pl.DataFrame(rows, schema=["id", "label", "split", "audio", "image"], orient="row")


def _write(path: Path, label: int, generator: np.random.Generator) -> None:
    import soundfile
    from PIL import Image as Pictures

    time = np.arange(round(RATE * SECONDS)) / RATE
    tone = np.sin(2 * np.pi * (120 + 60 * label) * time) * (0.5 + 0.5 * np.sin(2 * np.pi * 4 * time))
    sound = 0.2 * tone + 0.05 * generator.normal(size=len(time))
    soundfile.write(path.with_suffix(".wav"), sound, RATE, subtype="PCM_16")
    grain = generator.normal(size=(36, 48, 3)).repeat(10, axis=0).repeat(10, axis=1)
    colour = 128 + 60 * np.cos(label + np.arange(3))
    picture = (colour + 30 * grain).clip(0, 255).astype(np.uint8)
    Pictures.fromarray(picture).save(path.with_suffix(".jpg"), quality=90)
