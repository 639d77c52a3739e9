"""`manifest`: any data, listed in a table with a row a pair."""

from collections.abc import Collection, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field, model_validator

from bss.data.datasets._cells import holds_files, matching, values_of
from bss.data.datasets._hugging_face import read_hub
from bss.data.datasets._labels import as_read, as_text, check_classes, is_none, natural_order
from bss.data.datasets._shards import above
from bss.data.datasets._split import draw, parts
from bss.data.datasets._table import absence, read_table
from bss.data.datasets.dataset import FAULT, Dataset
from bss.data.kinds.kind import KINDS, Kind
from bss.errors import InputError, MissingInput
from bss.types import FUSED, Split

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_]*$")]
SPLITS = {"train": Split.TRAIN, "training": Split.TRAIN, "test": Split.TEST, "testing": Split.TEST} | dict.fromkeys(
    ("validation", "valid", "val", "dev"), Split.VALIDATION
)
"""What the splits are called."""
ROLES = ("label", "id", "split", "group")
OWN = {FAULT, "index", "class", "row"}
"""Columns that packing adds itself; those that begin with a modality and `_` are its own too."""
OF_TABLE = "_of_table"
"""Ending of a further column whose name is the project's own."""


class Manifest(Dataset):
    """The rows of a table, in their order. Where it names no split, a stratified one is drawn, disjoint by group."""

    example: ClassVar[Mapping[str, Any]] = {
        "file": "pairs.csv",
        "kinds": {"one": {"name": "image", "size": 8}, "two": {"name": "image", "size": 8}},
    }

    title: str | None = Field(default=None, min_length=1)
    """What pages call the data set; the name of `raw` where left out."""
    file: str | None = None
    """CSV (UTF-8, with a header), TSV, Parquet, lines of JSON, Excel or `.npz`; shards of WebDataset, as
    `train-{000..003}.tar` or with an asterisk; or a folder that `save_to_disk` of Hugging Face has written."""
    hub: str | None = Field(default=None, min_length=1)
    """A data set of the Hugging Face hub in the place of a file: `OWNER/NAME`."""
    config: str | None = None
    """Its configuration, where it has several."""
    revision: str | None = None
    """Its commit or tag; the newest where left out."""
    parts: list[str] = Field(default=[])
    """The splits of a Hugging Face data set that are read; all where left out."""
    kinds: Annotated[dict[Name, Annotated[Kind, BeforeValidator(KINDS.build)]], Field(min_length=2)]
    """Modality -> its kind, as `{name: image, size: 64}`."""
    columns: dict[str, str | list[str]] = Field(default={})
    """Modality, `label`, `id`, `split` or `group` -> its column if that has another name; of `features` several, in a
    list or as a pattern: `a0..a127`, or `a*` for all whose names begin so, in the order of the table."""
    root: str | None = None
    """Folder that paths start from; that of the file where left out."""
    validation: float = Field(default=0.1, gt=0, lt=1)
    """Share of all rows, where the file names none for validation."""
    test: float = Field(default=0.2, gt=0, lt=1)
    """Share of all rows, where the file names no split."""
    seed: int = Field(default=0, ge=0)
    """Seed of the split that is drawn."""
    folds: int | None = Field(default=None, ge=2)
    """Number of parts that all rows are dealt into, one of which is the test split, in the place of the share `test`:
    over all values of `fold` every row is tested once."""
    fold: int = Field(default=0, ge=0)
    """The part that is the test split, in [0, folds)."""

    @model_validator(mode="after")
    def _has_one_source(self) -> "Manifest":
        if (self.file is None) == (self.hub is None):
            raise InputError("file is the table, or hub a data set of Hugging Face; name one of the two")
        if self.hub is None and (self.config is not None or self.revision is not None):
            raise InputError("config and revision are of a data set of the hub; name it in hub")
        return self

    @model_validator(mode="after")
    def _names_fit(self) -> "Manifest":
        if reserved := {*ROLES, *OWN, FUSED} & set(self.kinds):
            raise InputError(f"kinds: {sorted(reserved)} name something else; take other names for the modalities")
        if unknown := set(self.columns) - {*ROLES, *self.kinds}:
            known = ", ".join([*ROLES, *self.kinds])
            raise InputError(f"columns: {sorted(unknown)} are no modality and no role (known: {known})")
        if self.fold >= (self.folds or 1):
            raise InputError(f"fold is {self.fold}, expected one in [0, folds), and folds is {self.folds}")
        test = self.test if self.folds is None else 1 / self.folds
        if self.validation + test >= 1:
            raise InputError(f"validation {self.validation} and test {test:.2g} leave nothing to train on")
        return self

    @property
    def inputs(self) -> tuple[Path, ...]:
        """The table, and the folder that paths start from; of the hub no file is of this workspace."""
        if self.file is None:
            return () if self.root is None else (Path(self.root),)
        path = Path(self.file)
        folder = path if path.is_dir() else above(path)
        table = path if path.exists() else folder
        return table, folder if self.root is None else Path(self.root)

    def titled(self, raw: Path) -> str:
        """The title, else the name on the hub, or that of the folder or the stem of the file `raw`."""
        return self.title or self.hub or (raw.name if raw.is_dir() else raw.stem) or super().titled(raw)

    @property
    def modalities(self) -> Mapping[str, Kind]:
        """The declared kinds."""
        return self.kinds

    @property
    def classes(self) -> tuple[str, ...]:
        """The labels of the file in natural order: 2 comes before 10."""
        return tuple(natural_order(self._items["label"].drop_nulls().unique()))

    def locate(self) -> Path:
        """The folder that paths start from."""
        if self.file is not None and (reason := absence(Path(self.file))):
            raise MissingInput(f"preprocess.file: {reason} (in {Path.cwd()})")
        *_, root = self.inputs or (Path(),)
        if not root.is_dir():
            raise MissingInput(f"preprocess.root: {root} is no folder in {Path.cwd()}")
        return root

    def items(self, root: Path) -> "pl.DataFrame":
        """The rows of the file; further columns are kept."""
        return self._items

    @cached_property
    def found_columns(self) -> dict[str, str | list[str]]:
        """`columns` with every pattern as the columns of the table that it stands for."""
        taken = _names(self.columns) | {self._column(role) for role in ROLES}
        free = [name for name in self._table.columns if name not in taken]
        return {
            name: value if name in ROLES else matching(value, free, self._table.columns)
            for name, value in self.columns.items()
        }

    @property
    def _origin(self) -> str:
        """What messages call the table."""
        return self.file or str(self.hub)

    @cached_property
    def _table(self) -> "pl.DataFrame":
        if self.hub is not None:
            return read_hub(self.hub, self.config, self.revision, self.parts)
        return read_table(Path(self._origin), self.parts, SPLITS.keys())

    @cached_property
    def _items(self) -> "pl.DataFrame":
        import polars as pl

        table = self._table
        self._check_columns(table)
        given = as_text(table[self._column("label")], "label", self._origin)
        labels = [None if is_none(label) else label for label in given]
        check_classes(self._origin, [label for label in labels if label is not None])
        taken: dict[str, pl.Series] = {"label": pl.Series(labels, dtype=pl.String)}
        identity = self._column("id")
        number = pl.Series("id", [f"row {row}" for row in range(1, len(table) + 1)], dtype=pl.String)
        has_id = identity in table.columns
        taken["id"] = as_text(table[identity], "id", self._origin).fill_null(number) if has_id else number
        if (group := self._column("group")) in table.columns:
            taken["group"] = as_text(table[group], "group", self._origin)
        faults: list[str | None] = [None] * len(table)
        for name, kind in self.kinds.items():
            taken[name], unread = values_of(table, self.found_columns.get(name, name), kind)
            faults = [earlier or unread.get(row) for row, earlier in enumerate(faults)]
        if any(faults):
            taken[FAULT] = pl.Series(faults, dtype=pl.String)
        used = _names(self.found_columns) | {self._column(role) for role in ROLES}
        used |= {name for name in self.kinds if name not in self.found_columns}
        items = pl.DataFrame([values.alias(name) for name, values in taken.items()])
        items = items.with_columns(self._split(table, items))
        others = [name for name in table.columns if name not in used and not holds_files(table[name])]
        kept = self._kept_as(others, {*OWN, *items.columns})
        return items.with_columns(table[name].alias(name_there) for name, name_there in kept.items())

    def _kept_as(self, columns: list[str], taken: Collection[str]) -> dict[str, str]:
        """Further column -> its name in the manifest, where some names are taken."""
        own = [name for name in columns if name in taken or name.startswith(tuple(f"{kind}_" for kind in self.kinds))]
        kept = {name: name for name in columns if name not in own}
        for name in own:
            free = f"{name}{OF_TABLE}"
            while free in kept.values():
                free += OF_TABLE
            kept[name] = free
        return {name: kept[name] for name in columns}

    def _column(self, role: str) -> str:
        column = self.columns.get(role, role)
        if isinstance(column, list):
            raise InputError(f"columns.{role}: {column}: only a modality of features is in several columns")
        return column

    def _check_columns(self, table: "pl.DataFrame") -> None:
        wanted = {"label": self.columns.get("label", "label")}
        wanted |= {name: self.found_columns.get(name, name) for name in self.kinds}
        wanted |= {role: self.columns[role] for role in ROLES if role in self.columns}
        for name in self.kinds:
            if wanted["label"] in (wanted[name] if isinstance(wanted[name], list) else [wanted[name]]):
                raise InputError(f"{self._origin}: {name} and the label are the same column '{wanted['label']}'")
        for name, column in wanted.items():
            for part in [column] if isinstance(column, str) else column:
                if part not in table.columns:
                    there = ", ".join(table.columns)
                    raise InputError(
                        f"{self._origin} has no column '{part}' for {name} (there are: {there}); say which one "
                        f"it is in preprocess.columns: {{{name}: ...}}"
                    )

    def _split(self, table: "pl.DataFrame", items: "pl.DataFrame") -> "pl.Series":
        import numpy as np
        import polars as pl

        column = self._column("split")
        # A row without a label is refused later, or skipped; what a person reads as one class is drawn as one.
        labels = np.array(["" if label is None else as_read(label) for label in items["label"]], dtype=object)
        labelled = np.flatnonzero(labels != "")
        groups = None
        if "group" in items.columns:  # a row without one is a group of its own
            groups = np.array([group or f"row {row}" for row, group in enumerate(items["group"])], dtype=object)

        def held(rows: "np.ndarray", share: float) -> "np.ndarray":
            """Those of some rows that are held out."""
            of_rows = None if groups is None else groups[rows]
            return np.asarray(rows[draw(labels[rows], of_rows, share, self.seed)])

        split = np.full(len(labels), Split.TRAIN.value, dtype=object)
        if column in table.columns:
            if self.folds is not None:
                raise InputError(f"folds are drawn, and {self._origin} has the splits in its column '{column}'")
            split[:] = [_known_split(self._origin, row, value) for row, value in enumerate(table[column], 1)]
        elif self.folds is not None:
            of_labelled = None if groups is None else groups[labelled]
            part = parts(labels[labelled], of_labelled, self.folds, self.seed)
            split[labelled[part == self.fold]] = Split.TEST.value
        else:
            split[held(labelled, self.test)] = Split.TEST.value
        if Split.VALIDATION not in split:
            is_drawn = column not in table.columns
            test = (1 / self.folds if self.folds is not None else self.test) if is_drawn else 0.0
            rest = labelled[split[labelled] == Split.TRAIN]
            split[held(rest, self.validation / (1 - test))] = Split.VALIDATION.value
        return pl.Series("split", [str(value) for value in split])


def _names(columns: Mapping[str, str | list[str]]) -> set[str]:
    return {name for value in columns.values() for name in ([value] if isinstance(value, str) else value)}


def _known_split(file: str, row: int, value: Any) -> str:
    if (split := SPLITS.get(str(value).strip().lower())) is None:
        raise InputError(
            f"{file}, row {row}: split '{value}' (known: {', '.join(SPLITS)}); a column of something else, such as "
            "folds, needs another name: without a column split one is drawn"
        )
    return split.value
