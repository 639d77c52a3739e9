"""`avdigits`: real spoken digits paired with real handwritten ones, 3,000 pairs.

Sounds: Free Spoken Digit Dataset (CC BY-SA 4.0), six speakers, ten digits, fifty takes, 8 kHz.
Images: the test file of MNIST (CC BY-SA 3.0), 28 x 28 grey. A pair shares its class and nothing else, as in
AV-MNIST; say so wherever a number is shown.
"""

import gzip
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from pydantic import Field

from bss.data.datasets._damage import Damageable, project
from bss.data.datasets._fetch import Source, obtain, raw_folder
from bss.data.datasets.digits import SPEECH
from bss.data.kinds.image import Image
from bss.data.kinds.kind import Kind
from bss.types import Split

if TYPE_CHECKING:
    import polars as pl

MNIST = "https://ossci-datasets.s3.amazonaws.com/mnist"
FSDD = "https://github.com/Jakobovski/free-spoken-digit-dataset/archive"

RECORDINGS = Source(
    address=f"{FSDD}/26eb9aaf76e81b692f806f9140c2d2777410d7a1.zip",
    path="recordings",
    sha256="1801eae019c063377d98f831d3f93574f259475df7332bb0e3d1b080fb5e6959",
    members="*/recordings/*.wav",
    listing=Path(__file__).with_suffix(".crc32"),
)
IMAGES = Source(
    address=f"{MNIST}/t10k-images-idx3-ubyte.gz",
    path="t10k-images-idx3-ubyte.gz",
    sha256="8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
)
LABELS = Source(
    address=f"{MNIST}/t10k-labels-idx1-ubyte.gz",
    path="t10k-labels-idx1-ubyte.gz",
    sha256="f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
)
SPEAKERS = ("george", "jackson", "lucas", "nicolas", "theo", "yweweler")
TEST_SPEAKERS = ("lucas", "theo")
NUM_TAKES = 50
PER_CLASS = len(SPEAKERS) * NUM_TAKES


class AVDigits(Damageable):
    """One pair a recording: speaker split 1,800 / 200 / 1,000, official split 2,400 / 300 / 300.

    No image is used twice.
    """

    sources: ClassVar[tuple[Source, ...]] = (RECORDINGS, IMAGES, LABELS)
    notes: ClassVar[tuple[str, ...]] = (
        "A spoken and a written digit of a pair share their class and nothing else, as in AV-MNIST.",
    )
    split: Literal["speaker", "official"] = "speaker"
    """`speaker`: test = lucas and theo, validation = takes 0-4 of the other four.
    `official`: test = takes 0-4 of all six, as the publisher says; validation = takes 5-9, our choice."""
    image_components: int | None = Field(default=None, ge=1, le=784)
    """Images keep only their first principal components, fitted on train; 4 matches the sounds."""

    @property
    def modalities(self) -> Mapping[str, Kind]:
        """Spoken and handwritten digit."""
        return {"audio": SPEECH, "image": Image(size=28, channels=1)}

    @property
    def classes(self) -> tuple[str, ...]:
        """The ten digits."""
        return tuple("0123456789")

    def locate(self) -> Path:
        """The folder of the published files; 30 MB are fetched where it is missing."""
        return obtain(self.sources, raw_folder(self.name))

    def items(self, root: Path) -> "pl.DataFrame":
        """The pairs, in the order of the recordings' names, with the columns `damaged` and `speaker`."""
        import polars as pl

        names = recording_names()
        items = pl.DataFrame(
            {
                "id": [name.removesuffix(".wav") for name in names],
                "label": [name[0] for name in names],
                "split": [self._split(name) for name in names],
                "audio": [f"{RECORDINGS.path}/{name}" for name in names],
                "image": pl.Series(paired_images(root)),
            }
        )
        items = project(items, "image", self.image_components)
        items = self.damaged(items)
        return items.with_columns(speaker=pl.col("audio").str.extract(r"_(.+)_"))

    def _split(self, name: str) -> str:
        _, speaker, take = name.removesuffix(".wav").split("_")
        if self.split == "official":
            early = {0: Split.TEST, 1: Split.VALIDATION}
            return early.get(int(take) // 5, Split.TRAIN).value
        if speaker in TEST_SPEAKERS:
            return Split.TEST.value
        return Split.VALIDATION.value if int(take) < 5 else Split.TRAIN.value


def recording_names() -> list[str]:
    """The 3,000 file names, sorted as text: take 10 comes before take 2, and the pairing depends on it."""
    takes = range(NUM_TAKES)
    return sorted(f"{digit}_{who}_{take}.wav" for digit in range(10) for who in SPEAKERS for take in takes)


def paired_images(root: Path) -> np.ndarray:
    """The images of the recordings in the order of their names, (3000, 28, 28) uint8.

    The 300 recordings of a class get the first 300 of a fixed permutation of the class's images.
    """
    images = np.frombuffer(gzip.decompress((root / IMAGES.path).read_bytes()), np.uint8, offset=16)
    labels = np.frombuffer(gzip.decompress((root / LABELS.path).read_bytes()), np.uint8, offset=8)
    # The legacy generator is part of the published pairing.
    rows = [np.random.RandomState(c).permutation(np.flatnonzero(labels == c))[:PER_CLASS] for c in range(10)]
    pictures: np.ndarray = images.reshape(-1, 28, 28)[np.concatenate(rows)]
    return pictures
