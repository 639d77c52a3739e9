"""The contract of a data set. Dropping a file with a `Dataset` into this folder registers it."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from bss.data.kinds.kind import Kind
from bss.registry import Component, Registry
from bss.seeds import generator

if TYPE_CHECKING:
    import polars as pl

    from bss.data.datasets._fetch import Source


FAULT = "fault"
Allowed = Literal["silent", "one_colour", "same_content"]


@dataclass(frozen=True)
class Damage:
    """What is done on purpose to one raw value when it is read."""

    is_blank: bool
    """Whether the sample is what `Kind.blank` gives; else the value is given noise."""
    seed: int
    """Of the noise: the same one gives the same noise."""

    def noisy(self, kind: Kind, value: Any) -> Any:
        """The raw value with noise of its own power, see `Kind.noisy`."""
        return kind.noisy(value, generator(self.seed, "noise"))


class Dataset(Component):
    """Modalities, classes, splits and raw files of one data set; its fields are its options."""

    notes: ClassVar[tuple[str, ...]] = ()
    """Sentences that a reader needs wherever a figure of this data set is shown."""

    sources: ClassVar["tuple[Source, ...]"] = ()
    """Published files that are fetched where they are missing."""

    on_bad: Literal["error", "skip"] = "error"
    """Whether a row that cannot be used stops preprocessing, or is left out and counted."""
    missing: Literal["refuse", "mask"] = "refuse"
    """Whether a pair that lacks a modality cannot be used, or is used with that modality masked."""
    allow: list[Allowed] = Field(default=[])
    """Faults that are none here: silent audio, pictures of one colour, the same file or values in two splits."""

    @property
    def inputs(self) -> tuple[Path, ...]:
        """Files and folders of the workspace that `items` reads; a change shows in nothing but their times."""
        return ()

    def titled(self, raw: Path) -> str:
        """What a page calls the data set: its name in params.yaml.

        Args:
            raw: where params.yaml says that the raw data lie.
        """
        return self.name

    @property
    @abstractmethod
    def modalities(self) -> Mapping[str, Kind]:
        """Name -> kind of each modality, in the order of the tables."""

    @property
    @abstractmethod
    def classes(self) -> tuple[str, ...]:
        """Class names; a label is an index into them."""

    def damages(self, items: "pl.DataFrame", modality: str) -> "list[Damage | None]":
        """What is done to each value of a modality when it is read; None where nothing is.

        Args:
            items: some rows of the items, or of the manifest that was made of them.
            modality: the column.
        """
        return [None] * len(items)

    @abstractmethod
    def locate(self) -> Path:
        """The folder of the raw files, fetched first where it is missing.

        Raises:
            MissingInput: a raw file is missing; the message names it and says how to get it.
            InputError: a raw file is not the published one; the message names it and both checksums.
        """

    @abstractmethod
    def items(self, root: Path) -> "pl.DataFrame":
        """One row a pair, in a fixed order: `id`, `label` (a class name), `split`, a column a modality.

        A modality's column holds its raw values: paths relative to `root`, or arrays; null where it has none. Rows
        of one `group`, where there is that column, must be in one split. A row that could not be read has the reason
        in the column `fault`, which is null elsewhere. Further columns (speaker, voice, damaged
        modality ...) are kept in the manifest.
        """


DATASETS: Registry[Dataset] = Registry("data set", "bss.data.datasets", Dataset)
