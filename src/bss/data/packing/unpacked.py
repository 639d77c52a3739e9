"""Rows of a table that no stage has packed, read as the packed ones were."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bss.data.datasets._cells import values_of
from bss.data.kinds.kind import Kind
from bss.data.packed import Meta
from bss.data.packing import raw_files
from bss.data.packing.blocks import raw_values, read_row, reason
from bss.data.packing.check import Finding, double_ids, summary
from bss.errors import InputError
from bss.registry import UnknownName
from bss.types import PRESENT

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True)
class Rows:
    """The raw values of all modalities, a row a sample.

    Raises:
        InputError: the table lacks the column of a modality, two rows have one id, a sample has no value, or a
            path leads to no file and no folder; the message names the rows.
    """

    table: "pl.DataFrame"
    origin: Path
    """The file of the table; paths start from its folder."""
    meta: Meta
    kinds: Mapping[str, Kind]
    columns: Mapping[str, str | list[str]] = field(default_factory=dict)
    """Modality or role -> its column, if that has another name."""
    allow: Sequence[str] = ()
    """Faults that are none, see `Dataset.allow`."""

    def __post_init__(self) -> None:
        for name in self.kinds:
            column = self.columns.get(name, name)
            for part in [column] if isinstance(column, str) else column:
                if part not in self.table.columns:
                    reason = UnknownName("column", part, self.table.columns)
                    raise InputError(f"{self.origin}: a column of the modality '{name}' is missing: {reason}")
        self._refuse([*double_ids(enumerate(self.ids, 1)), *self._missing()])

    def __len__(self) -> int:
        return len(self.table)

    @property
    def _root(self) -> Path:
        """The folder that paths start from."""
        return self.origin if self.origin.is_dir() else self.origin.parent

    @cached_property
    def ids(self) -> list[str]:
        """The column `id`, or else `row 1`, `row 2` ..., as `manifest` names them."""
        import polars as pl

        number = pl.Series([f"row {row}" for row in range(1, len(self) + 1)])
        column = self.role("id")
        return (number if column is None else column.cast(pl.String).fill_null(number)).to_list()

    def role(self, name: str) -> "pl.Series | None":
        """The column `label` or `id`, if there is one."""
        column = self.columns.get(name, name)
        return self.table[column] if isinstance(column, str) and column in self.table.columns else None

    def read(self, start: int, num_rows: int) -> dict[str, np.ndarray]:
        """Some rows, decoded: modality -> (B, *shape), and which are present, as `PackedSplit.read` gives them.

        Raises:
            InputError: a value cannot be used; the message has its row, the file and why.
        """
        arrays, faults = dict[str, np.ndarray](), list[Finding]()
        for name, kind in self.kinds.items():
            column = self._columns[name][start : start + num_rows]
            arrays[name] = np.zeros((len(column), *kind.shape), kind.dtype)
            if self.meta.masked:
                arrays[f"{name}{PRESENT}"] = column.is_not_null().to_numpy()
            forbidden = None if kind.constant in self.allow else kind.constant
            for place, value in enumerate(raw_values(column, self._root, paths=kind.paths)):
                try:
                    if value is not None:
                        arrays[name][place] = read_row(kind, value, forbidden)
                except (InputError, OSError) as error:
                    source = str(column[place]) if isinstance(value, Path) else name
                    faults.append(self._finding(start + place, source, reason(error, value)))
        self._refuse(faults)
        return arrays

    @cached_property
    def _columns(self) -> dict[str, "pl.Series"]:
        columns, findings = {}, []
        for name, kind in self.kinds.items():
            columns[name], faults = values_of(self.table, self.columns.get(name, name), kind)
            findings += [self._finding(row, name, fault) for row, fault in faults.items()]
        self._refuse(findings)
        return columns

    def _missing(self) -> list[Finding]:
        """Rows without a value that the model needs, and paths that cannot be used."""
        import polars as pl

        absent = pl.DataFrame({name: self._columns[name].is_null() for name in self.kinds})
        findings = []
        for row, values in enumerate(absent.iter_rows()):
            if all(values) or (any(values) and not self.meta.masked):
                names = [name for name, is_absent in zip(self.kinds, values, strict=True) if is_absent]
                findings.append(self._finding(row, ", ".join(names), "no value"))
        for name, kind in self.kinds.items():
            for row, value in enumerate(raw_values(self._columns[name], self._root, paths=kind.paths)):
                if isinstance(value, Path) and (what := raw_files.fault(value)):
                    findings.append(self._finding(row, str(value), what))
        return findings

    def _finding(self, row: int, source: str, what: str) -> Finding:
        return Finding(row + 1, self.ids[row], source, what)

    def _refuse(self, findings: list[Finding]) -> None:
        if findings:
            raise InputError(summary(str(self.origin), sorted(findings)))
