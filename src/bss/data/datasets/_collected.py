"""Data sets that the user has collected: nothing is fetched, and what lies in the folder says how it is read."""

import csv
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from bss.data.datasets._fetch import VARIABLE, raw_folder
from bss.data.datasets.dataset import Dataset
from bss.data.kinds.audio import Audio
from bss.data.kinds.image import Image
from bss.data.kinds.kind import Kind
from bss.data.kinds.text import Text
from bss.data.kinds.video import Video
from bss.errors import InputError, MissingInput
from bss.seeds import generator
from bss.types import Split

SPLIT_SEED = 0
TENTH = "Validation is a tenth of each class of the training list, drawn once and for all; none is published."


@dataclass(frozen=True)
class Layout:
    """One way in which the raw files may lie in their folder."""

    needs: tuple[str, ...]
    """Files and folders without which it is another layout; `a|b` is either."""
    tells: str
    """The layout in words, one line."""


class Collected(Dataset):
    """A data set in the form that its publisher hands out, or that the published loaders read.

    The first of the layouts that is there is read.
    """

    layouts: ClassVar[Mapping[str, Layout]]
    origin: ClassVar[str]
    """Address and licence of the data, for a message."""

    @property
    @abstractmethod
    def _notes(self) -> tuple[str, ...]:
        """The notes that belong to the values of the fields."""

    @property
    def notes(self) -> tuple[str, ...]:  # type: ignore[override]
        """The notes, which here depend on the fields."""
        return self._notes

    @property
    def root(self) -> Path:
        """The folder in which the raw files are expected."""
        return raw_folder(self.name)

    def locate(self) -> Path:
        """The folder of the raw files.

        Raises:
            MissingInput: no layout is complete; the message has the first file that is missing and the layouts.
        """
        self.layout(self.root)
        return self.root

    def layout(self, root: Path) -> str:
        """The name of the first layout that is complete; raises as `locate`."""
        missing = {
            name: [need for need in layout.needs if first(root, need) is None]
            for name, layout in self.layouts.items()
        }
        for name, needs in missing.items():
            if not needs:
                return name
        nearest = min(missing, key=lambda name: len(missing[name]) / len(self.layouts[name].needs))
        lines = [f"{root / missing[nearest][0]} is missing. The folder {root} holds one of"]
        lines += [f"  {layout.tells}" for layout in self.layouts.values()]
        lines += [f"{self.origin}. Set {VARIABLE} to the folder that holds {root.name}; see docs/datasets.md"]
        raise MissingInput("\n".join(lines))


class AudioVisual(Collected):
    """Clips with sound and picture, read as the published loaders read them where a field is left out."""

    sample_rate: int = Field(default=22050, gt=0)
    """Hertz."""
    seconds: float = Field(default=20.0, gt=0)
    """Seconds of sound in a sample."""
    length: Literal["pad", "tile", "crop"] = "tile"
    """What fills a shorter recording, see the kind `audio`."""
    n_fft: int = Field(default=512, ge=2)
    """Samples of a window of the spectrogram."""
    hop_length: int = Field(default=353, ge=1)
    """Samples from one window to the next."""
    floor: float = Field(default=1e-7, gt=0)
    """Added to the magnitudes before the logarithm, see the kind `audio`."""
    num_mels: int | None = Field(default=None, ge=1)
    """Bands of the mel scale; none: the plain spectrogram."""
    level: float | None = Field(default=None, gt=0)
    """Root mean square that each recording is brought to; none: as it is."""
    image_size: int = Field(default=224, ge=8)
    """Pixels a side of a frame."""
    num_frames: int = Field(default=1, ge=1)
    """Frames of a clip."""
    fps: float | None = Field(default=1.0, gt=0)
    """Frames a second that are read from a video file; a folder of frames is taken as it is."""
    rule: Literal["uniform", "first", "centre"] = "uniform"
    """How frames are chosen, see the kind `video`."""
    min_frames: int = Field(default=1, ge=1)
    """Least frames of a clip; one of fewer cannot be used."""

    @property
    def modalities(self) -> Mapping[str, Kind]:
        """Spectrogram and frames."""
        sound = ("sample_rate", "seconds", "length", "n_fft", "hop_length", "floor", "num_mels", "level")
        audio = Audio(**{name: getattr(self, name) for name in sound})
        picture = ("num_frames", "fps", "rule", "min_frames")
        video = Video(size=self.image_size, **{name: getattr(self, name) for name in picture})
        return {"audio": audio, "video": video}


class Tweets(Collected):
    """Texts with a picture, read as the published loaders read them where a field is left out."""

    length: int = Field(default=30, ge=1)
    """Words of a text, or tokens of the tokenizer."""
    tokenizer: str | None = None
    """A Hugging Face tokenizer, a folder or a name of the hub; the words of the training texts where left out."""
    image_size: int = Field(default=224, ge=8)
    """Pixels a side."""

    @property
    def modalities(self) -> Mapping[str, Kind]:
        """The picture and the words of the tweet."""
        return {"image": Image(size=self.image_size), "text": Text(length=self.length, tokenizer=self.tokenizer)}


def first(root: Path, need: str) -> str | None:
    """The first of the alternatives `a|b` that is below `root`."""
    return next((part for part in need.split("|") if (root / part).exists()), None)


def lines(path: Path) -> Iterator[tuple[int, str]]:
    """The number, from 1, and the text of each line that is not blank.

    Raises:
        InputError: a line is not UTF-8.
    """
    for number, line in enumerate(path.read_bytes().split(b"\n"), 1):
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r")
        except UnicodeDecodeError:
            raise InputError(f"{path}, line {number}: not UTF-8") from None
        if text.strip():
            yield number, text


def rows(path: Path, num_columns: int) -> Iterator[tuple[int, list[str]]]:
    """The line and the cells, without white space around them, of each row of a CSV file.

    Raises:
        InputError: a row has fewer columns; the message has the line.
    """
    for number, line in lines(path):
        cells = [cell.strip() for cell in next(csv.reader([line]))]
        if len(cells) < num_columns:
            raise broken(path, number, line, f"{num_columns} columns")
        yield number, cells


def records(path: Path, columns: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """The rows of a CSV file with a header as dictionaries.

    Raises:
        InputError: a column is missing, or a row has too few; the message has the line.
    """
    numbered = rows(path, 1)
    _, header = next(numbered, (0, []))
    if missing := [name for name in columns if name not in header]:
        raise InputError(f"{path}: no column '{missing[0]}' (there are: {', '.join(header)})")
    for number, cells in numbered:
        if len(cells) != len(header):
            raise broken(path, number, ",".join(cells), f"the {len(header)} columns {', '.join(header)}")
        yield number, dict(zip(header, cells, strict=True))


def broken(path: Path, number: int, line: str, needed: str) -> InputError:
    """The error to raise for a line that cannot be understood."""
    return InputError(f"{path}, line {number}: {needed} are needed, got {line!r:.80}")


def hold_out(labels: Sequence[str], splits: Sequence[str], target: Split, purpose: str) -> list[str]:
    """The splits, with a tenth of each class of train moved to `target`; of two rows and more at least one."""
    classes, moved = np.array(labels), np.array(splits, dtype=object)
    draw = generator(SPLIT_SEED, purpose)
    for label in sorted(set(labels)):
        places = draw.permutation(np.flatnonzero((classes == label) & (moved == Split.TRAIN)))
        moved[places[: max(round(len(places) / 10), min(1, len(places) - 1))]] = target.value
    return [str(split) for split in moved]
