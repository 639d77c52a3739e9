"""Forty pairs of a few numbers and a picture, which rise or fall together."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pydantic import Field

from bss.data.datasets.dataset import Dataset
from bss.data.kinds.image import Image
from bss.data.kinds.kind import KINDS, Kind

if TYPE_CHECKING:
    import polars as pl

SPLITS = ("train", "train", "validation", "test")


class Dropped(Dataset):
    """Half of the pairs of each split rise, the others fall."""

    example: ClassVar[Mapping[str, Any]] = {"size": 3}

    size: int = Field(ge=1)
    """Numbers of a pair."""

    @property
    def modalities(self) -> Mapping[str, Kind]:
        """The new kind beside a known one."""
        return {"numbers": KINDS.build({"name": "dropped", "size": self.size}), "picture": Image(size=4, channels=1)}

    @property
    def classes(self) -> tuple[str, ...]:
        """Two."""
        return ("fall", "rise")

    def locate(self) -> Path:
        """The folder of params.yaml; nothing is read from it."""
        return Path()

    def items(self, root: Path) -> "pl.DataFrame":
        """The pairs."""
        import polars as pl

        draw = np.random.default_rng(0)
        labels = [row // 4 % 2 for row in range(40)]
        pictures = [draw.integers(0, 100, (4, 4), dtype=np.uint8) + np.uint8(100 * label) for label in labels]
        return pl.DataFrame(
            {
                "id": [str(row) for row in range(40)],
                "label": [self.classes[label] for label in labels],
                "split": [SPLITS[row % 4] for row in range(40)],
                "numbers": [(draw.normal(size=self.size) + 2 * label).tolist() for label in labels],
                "picture": pl.Series(pictures, dtype=pl.Array(pl.UInt8, (4, 4))),
            }
        )
