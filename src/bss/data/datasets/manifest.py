"""`manifest`: any data, listed in a CSV or Parquet file with a row a pair."""

import csv
import os
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field, model_validator

from bss.data.datasets._labels import as_read, is_none
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
ROLES = ("label", "id", "split", "group")


class Manifest(Dataset):
    """The rows of a file, in their order. Where it names no split, a stratified one is drawn, disjoint by group."""

    example: ClassVar[Mapping[str, Any]] = {
        "file": "pairs.csv",
        "kinds": {"one": {"name": "image", "size": 8}, "two": {"name": "image", "size": 8}},
    }

    file: str
    """CSV (UTF-8, with a header) or Parquet."""
    kinds: Annotated[dict[Name, Annotated[Kind, BeforeValidator(KINDS.build)]], Field(min_length=2)]
    """Modality -> its kind, as `{name: image, size: 64}`."""
    columns: dict[str, str | list[str]] = Field(default={})
    """Modality, `label`, `id`, `split` or `group` -> its column if that has another name; of `features` several."""
    root: str | None = None
    """Folder that paths start from; that of the file where left out."""
    validation: float = Field(default=0.1, gt=0, lt=1)
    """Share of all rows, where the file names none for validation."""
    test: float = Field(default=0.2, gt=0, lt=1)
    """Share of all rows, where the file names no split."""
    seed: int = Field(default=0, ge=0)
    """Seed of the split that is drawn."""

    @model_validator(mode="after")
    def _names_fit(self) -> "Manifest":
        if reserved := {*ROLES, FUSED, FAULT, "index", "class", "row"} & set(self.kinds):
            raise InputError(f"kinds: {sorted(reserved)} name something else; take other names for the modalities")
        if unknown := set(self.columns) - {*ROLES, *self.kinds}:
            known = ", ".join([*ROLES, *self.kinds])
            raise InputError(f"columns: {sorted(unknown)} are no modality and no role (known: {known})")
        if self.validation + self.test >= 1:
            raise InputError(f"validation {self.validation} and test {self.test} leave nothing to train on")
        return self

    @property
    def inputs(self) -> tuple[Path, ...]:
        """The file, and the folder that paths start from."""
        return Path(self.file), Path(self.file).parent if self.root is None else Path(self.root)

    @property
    def modalities(self) -> Mapping[str, Kind]:
        """The declared kinds."""
        return self.kinds

    @property
    def classes(self) -> tuple[str, ...]:
        """The labels of the file, sorted."""
        return tuple(self._items["label"].drop_nulls().unique().sort())

    def locate(self) -> Path:
        """The folder that paths start from."""
        if not Path(self.file).is_file():
            raise MissingInput(f"preprocess.file: {self.file} is missing in {Path.cwd()}")
        _, root = self.inputs
        if not root.is_dir():
            raise MissingInput(f"preprocess.root: {root} is no folder in {Path.cwd()}")
        return root

    def items(self, root: Path) -> "pl.DataFrame":
        """The rows of the file; further columns are kept."""
        return self._items

    @cached_property
    def _items(self) -> "pl.DataFrame":
        import polars as pl

        table = read_table(Path(self.file))
        self._check_columns(table)
        labels = [None if is_none(label) else label for label in table[self._column("label")].cast(pl.String)]
        taken: dict[str, pl.Series] = {"label": pl.Series(labels, dtype=pl.String)}
        identity = self._column("id")
        number = pl.Series("id", [f"row {row}" for row in range(1, len(table) + 1)], dtype=pl.String)
        taken["id"] = table[identity].cast(pl.String).fill_null(number) if identity in table.columns else number
        if (group := self._column("group")) in table.columns:
            taken["group"] = table[group].cast(pl.String)
        faults: list[str | None] = [None] * len(table)
        for name, kind in self.kinds.items():
            taken[name], unread = values_of(table, self.columns.get(name, name), kind)
            faults = [earlier or unread.get(row) for row, earlier in enumerate(faults)]
        if any(faults):
            taken[FAULT] = pl.Series(faults, dtype=pl.String)
        used = {name for value in self.columns.values() for name in ([value] if isinstance(value, str) else value)}
        items = pl.DataFrame([values.alias(name) for name, values in taken.items()])
        items = items.with_columns(self._split(table, items))
        others = [name for name in table.columns if name not in {*used, *items.columns}]
        return items.with_columns(table[name] for name in others)

    def _column(self, role: str) -> str:
        column = self.columns.get(role, role)
        if isinstance(column, list):
            raise InputError(f"columns.{role}: {column}: only a modality of features is in several columns")
        return column

    def _check_columns(self, table: "pl.DataFrame") -> None:
        wanted = {"label": self.columns.get("label", "label")}
        wanted |= {name: self.columns.get(name, name) for name in self.kinds}
        wanted |= {role: self.columns[role] for role in ROLES if role in self.columns}
        for name, column in wanted.items():
            for part in [column] if isinstance(column, str) else column:
                if part not in table.columns:
                    there = ", ".join(table.columns)
                    raise InputError(
                        f"{self.file} has no column '{part}' for {name} (there are: {there}); say which one it is in "
                        f"preprocess.columns: {{{name}: ...}}"
                    )

    def _split(self, table: "pl.DataFrame", items: "pl.DataFrame") -> "pl.Series":
        import numpy as np
        import polars as pl

        column = self._column("split")
        labels = np.array(["" if label is None else as_read(label) for label in items["label"]], dtype=object)
        groups = None
        if "group" in items.columns:  # a row without one is a group of its own
            groups = np.array([group or f"row {row}" for row, group in enumerate(items["group"])], dtype=object)

        def held(rows: "np.ndarray", share: float) -> "np.ndarray":
            """Those of some rows that are held out; a row without a label is refused later, or skipped."""
            rows = rows[labels[rows] != ""]
            return np.asarray(rows[draw(labels[rows], None if groups is None else groups[rows], share, self.seed)])

        if column in table.columns:
            named = [_known_split(self.file, row, value) for row, value in enumerate(table[column], 1)]
            split = np.array(named, dtype=object)
            if Split.VALIDATION not in named:
                split[held(np.flatnonzero(split == Split.TRAIN), self.validation)] = Split.VALIDATION.value
        else:
            split = np.full(len(labels), Split.TRAIN.value, dtype=object)
            split[held(np.arange(len(labels)), self.test)] = Split.TEST.value
            rest = np.flatnonzero(split == Split.TRAIN)
            split[held(rest, self.validation / (1 - self.test))] = Split.VALIDATION.value
        return pl.Series("split", [str(value) for value in split])


def draw(labels: "np.ndarray", groups: "np.ndarray | None", share: float, seed: int) -> "np.ndarray":
    """Whether each row is held out, (N,) bool: about `share` of each class; whole groups, and at least one of them.

    Raises:
        InputError: a class has too few rows, or too few groups, to be in both parts.
    """
    import numpy as np
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedShuffleSplit

    held = np.zeros(len(labels), dtype=bool)
    places = np.arange(len(labels))
    try:
        if groups is None:
            parts = StratifiedShuffleSplit(1, test_size=share, random_state=seed).split(places, labels)
        else:
            num_parts = min(max(2, round(1 / share)), len(set(groups)))
            parts = StratifiedGroupKFold(num_parts, shuffle=True, random_state=seed).split(places, labels, groups)
        held[next(iter(parts))[1]] = True
    except ValueError as error:
        members = list(labels) if groups is None else [label for label, _ in set(zip(labels, groups, strict=True))]
        name, count = Counter(members).most_common()[-1]
        what = f"{'row' if groups is None else 'group'}{'s' * (count > 1)}"
        raise InputError(
            f"no split can be drawn: the class '{name}' has {count} {what}; give the file a column split"
        ) from error
    return held


def read_table(path: Path) -> "pl.DataFrame":
    """The columns of a Parquet file as they are, of a CSV file as text; an empty cell is null.

    Raises:
        InputError: the file cannot be read; the message has the line, where there is one.
    """
    import polars as pl

    separator = "\t" if path.suffix.lower() == ".tsv" else ","
    try:
        if path.suffix.lower() in (".parquet", ".pq"):
            table = pl.read_parquet(path)
        else:
            _check_encoding(path)
            table = pl.read_csv(path, infer_schema=False, separator=separator)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error
    except pl.exceptions.PolarsError as error:
        reason = f" cannot be read: {str(error).splitlines()[0]}"
        where = "" if path.suffix.lower() in (".parquet", ".pq") else _line(path, separator)
        raise InputError(f"{path}{where or reason}") from error
    if len(table.columns) == 1 and (other := next((mark for mark in ";\t," if mark in table.columns[0]), None)):
        raise InputError(f"{path}: its columns are separated by {other!r}; expected {separator!r}")
    if not len(table):
        raise InputError(f"{path} has no row")
    return table


def _check_encoding(path: Path) -> None:
    content = path.read_bytes()
    try:
        content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise InputError(
            f"{path}, line {line}: the byte {content[error.start]:#04x} is not UTF-8; save the file as UTF-8"
        ) from None


def _line(path: Path, separator: str) -> str:
    """The first line of a CSV file with more cells than columns, as the end of `FILE, line N: ...`."""
    with path.open(encoding="utf-8-sig", newline="") as file, suppress(csv.Error):
        lines = csv.reader(file, delimiter=separator)
        columns = next(lines, [])
        for cells in lines:
            if len(cells) > len(columns):
                return (
                    f", line {lines.line_num}: {len(cells)} cells, but {len(columns)} columns; quote a text that "
                    f"has '{separator}' in it"
                )
    return ""


def _known_split(file: str, row: int, value: Any) -> str:
    if (split := SPLITS.get(str(value).strip().lower())) is None:
        raise InputError(f"{file}, row {row}: split '{value}' (known: {', '.join(SPLITS)})")
    return split.value


def values_of(table: "pl.DataFrame", column: str | list[str], kind: Kind) -> "tuple[pl.Series, dict[int, str]]":
    """The raw values of a modality: one column of the table, or several of numbers; null where there is none.

    Returns:
        the values, and row, from 0 -> why a cell of it cannot be read.
    """
    return _joined(table, column) if isinstance(column, list) else (_typed(table[column], kind), {})


def _typed(column: "pl.Series", kind: Kind) -> "pl.Series":
    """A column as it is; of paths with the separators of this system, null where there is only white space."""
    import polars as pl

    if column.dtype != pl.String or not kind.paths:
        return column
    stripped = column.str.strip_chars().str.replace_all("\\", os.sep, literal=True)
    return pl.select(pl.when(stripped != "").then(stripped)).to_series()


def _joined(table: "pl.DataFrame", columns: list[str]) -> "tuple[pl.Series, dict[int, str]]":
    """Several columns of numbers as one of lists; null where all are empty."""
    import polars as pl

    numbers = table.select(pl.col(columns).cast(pl.Float64, strict=False))
    is_empty = table.select(pl.all_horizontal(pl.col(columns).is_null())).to_series()
    faults: dict[int, str] = {}
    for name in columns:
        for row in (numbers[name].is_null() & ~is_empty).arg_true():
            cell = table[name][row]
            what = "is empty, and other numbers of the row are not" if cell is None else f"{cell!r} is no number"
            faults.setdefault(row, f"column '{name}': {what}")
    joined = pl.when(~pl.lit(is_empty)).then(pl.concat_list(pl.col(columns).fill_null(0)))
    return numbers.select(joined).to_series(), faults
