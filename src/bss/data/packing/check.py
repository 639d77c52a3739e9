"""The faults of a data set's items that show before anything is decoded, and their summary."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bss.data.datasets._labels import as_read
from bss.data.datasets.dataset import FAULT, Dataset
from bss.data.packing import raw_files
from bss.errors import InputError
from bss.paths import absolute
from bss.registry import UnknownName
from bss.types import Split
from bss.wording import counted

if TYPE_CHECKING:
    import polars as pl

ROW = "row"
NUM_SHOWN = 20
MIN_CLASSES = 2
PRECIOUS = {split: number for number, split in enumerate(Split)}
"""Split -> how precious it is: where two rows must not be in two splits, the one of the smaller number goes."""


@dataclass(frozen=True, order=True)
class Finding:
    """A fault of one value or row; such a row can be skipped."""

    row: int
    """Number of the item, from 1."""
    id: str
    source: str
    """The file, or the column."""
    what: str
    """The fault, in words."""

    def __str__(self) -> str:
        return f"row {self.row} ({self.id}), {self.source}: {self.what}"


class BadData(InputError):
    """Rows that cannot be used; the message has a line for each of the first."""

    def __init__(self, name: str, findings: Sequence[Finding]) -> None:
        self.findings = tuple(findings)
        super().__init__(f"{summary(name, findings)}\nput them right, or set preprocess.on_bad to skip")


def summary(name: str, findings: Sequence[Finding]) -> str:
    """The number of rows of a data set that cannot be used, then a line for each of the first findings."""
    num_rows = len({finding.row for finding in findings})
    rest = [f"... and {len(findings) - NUM_SHOWN} more"] if len(findings) > NUM_SHOWN else []
    return "\n".join([f"{name}: {counted(num_rows, 'row')} cannot be used", *map(str, findings[:NUM_SHOWN]), *rest])


def find_faults(items: "pl.DataFrame", dataset: Dataset, root: Path) -> list[Finding]:
    """The faults of single rows, in their order, without decoding anything.

    Args:
        items: as `Dataset.items` gives them, with the column `row` in front.
        dataset: that they belong to.
        root: folder that paths start from.

    Raises:
        InputError: a fault that no skipped row would put right: a column is missing, a split or label unknown, one
            label is spelled in several ways.
    """
    if missing := {"id", "label", "split", *dataset.modalities} - set(items.columns):
        raise InputError(f"the items of {dataset.name} lack the columns {sorted(missing)}")
    _labels_have_one_spelling(items.drop_nulls("label"), dataset.name)
    if len(dataset.classes) < MIN_CLASSES:
        raise InputError(f"{dataset.name}: two classes or more are needed, and the only label is {dataset.classes}")
    for column, known in [("split", tuple(Split)), ("label", dataset.classes)]:
        for value in items[column].drop_nulls().unique().sort():
            if value not in known:
                raise UnknownName(f"{column} of {dataset.name}", value, known)
    unlabelled = items.filter(items["label"].is_null()).select(ROW, "id").iter_rows()
    findings = [Finding(row, identity, "label", "no label") for row, identity in unlabelled]
    findings += double_ids(items.select(ROW, "id").iter_rows())
    if FAULT in items.columns:
        unread = items.filter(items[FAULT].is_not_null()).select(ROW, "id", FAULT).iter_rows()
        findings += [Finding(row, identity, "table", fault) for row, identity, fault in unread]
    findings += [*_missing_values(items, dataset), *_groups(items), *_paths(items, dataset, root)]
    bad = {finding.row for finding in findings}
    if "same_content" not in dataset.allow:
        sound = items.filter(~items[ROW].is_in(list(bad)))
        findings += [
            *_same_content(sound, dataset, root),
            *_same_cells(sound, dataset),
            *_same_values(sound, dataset),
        ]
    return sorted(findings)


def check_splits(items: "pl.DataFrame", dataset: Dataset, skipped: Sequence[Finding] = ()) -> None:
    """Refuse items with an empty split, or a class that has no training pair.

    Args:
        items: those that are left.
        dataset: that they belong to.
        skipped: the faults of the others.

    Raises:
        InputError: the message names it.
    """
    others = f"\n{summary(dataset.name, skipped)}" if skipped else ""
    for split in Split:
        if split not in set(items["split"]):
            raise InputError(f"{dataset.name}: the split '{split}' is empty{others}")
    trained = set(items["label"].filter(items["split"] == Split.TRAIN))
    if untrained := [name for name in dataset.classes if name not in trained]:
        raise InputError(f"{dataset.name}: no training pair of the classes {untrained}{others}")


def _labels_have_one_spelling(items: "pl.DataFrame", name: str) -> None:
    spellings: dict[str, dict[str, int]] = defaultdict(dict)
    for row, label in items.select(ROW, "label").iter_rows():
        spellings[as_read(str(label))].setdefault(str(label), row)
    for first, *others in (list(rows.items()) for rows in spellings.values()):
        if others:
            where = ", ".join(f"'{label}' in row {row}" for label, row in [first, *others])
            raise InputError(f"{name}: one label is spelled in several ways: {where}")


def double_ids(rows: Iterable[tuple[Any, ...]]) -> Iterator[Finding]:
    """A finding for each row, given as its number and its id, whose id an earlier one has."""
    first: dict[str, int] = {}
    for row, identity in rows:
        if first.setdefault(identity, row) != row:
            yield Finding(row, identity, "id", f"row {first[identity]} has the same id")


def _missing_values(items: "pl.DataFrame", dataset: Dataset) -> Iterator[Finding]:
    for values in items.select(ROW, "id", *(items[name].is_null() for name in dataset.modalities)).iter_rows():
        (row, identity), missing = values[:2], values[2:]
        if all(missing):
            yield Finding(row, identity, ", ".join(dataset.modalities), "no modality has a value")
        elif any(missing) and dataset.missing == "refuse":
            names = [name for name, is_missing in zip(dataset.modalities, missing, strict=True) if is_missing]
            yield Finding(row, identity, ", ".join(names), "no value; preprocess.missing: mask allows that")


def _groups(items: "pl.DataFrame") -> Iterator[Finding]:
    """Rows whose group is also in a more precious split."""
    if "group" not in items.columns:
        return
    best: dict[object, Split] = {}
    for group, split in items.select("group", "split").drop_nulls().iter_rows():
        best[group] = max(best.get(group, Split.TRAIN), Split(split), key=PRECIOUS.__getitem__)
    for row, identity, group, split in items.select(ROW, "id", "group", "split").iter_rows():
        if group is not None and best[group] != split:
            yield Finding(row, identity, "group", f"'{group}' is in {split} and in {best[group]}")


def _paths(items: "pl.DataFrame", dataset: Dataset, root: Path) -> Iterator[Finding]:
    for name in _path_modalities(items, dataset):
        for row, identity, value in items.select(ROW, "id", name).iter_rows():
            if value is not None and (what := _fault(root, value)):
                yield Finding(row, identity, value, what)


def _path_modalities(items: "pl.DataFrame", dataset: Dataset) -> list[str]:
    import polars as pl

    return [name for name, kind in dataset.modalities.items() if kind.paths and items[name].dtype == pl.String]


def _fault(root: Path, value: str) -> str | None:
    """The fault of a path before it is opened, or None; a link may lead anywhere, the path itself may not."""
    if not absolute(root / value).is_relative_to(absolute(root)):
        return f"leads out of {root}"
    return raw_files.fault(root / value)


def _same_content(items: "pl.DataFrame", dataset: Dataset, root: Path) -> Iterator[Finding]:
    """Rows with a file, or a folder of files, that is also, byte by byte, in a more precious split."""
    for name in _path_modalities(items, dataset):
        rows = [values for values in items.select(ROW, "id", "split", name).iter_rows() if values[3] is not None]
        for group in _alike(rows, root):
            precious = max(group, key=lambda values: PRECIOUS[Split(values[2])])
            for row, identity, split, value in group:
                if split != precious[2]:
                    what = f"the same content as {precious[3]} of row {precious[0]}, in {split} and in {precious[2]}"
                    yield Finding(row, identity, value, what)


def _same_cells(items: "pl.DataFrame", dataset: Dataset) -> Iterator[Finding]:
    """Rows with a cell `{bytes, path}` whose bytes are also in a more precious split."""
    import polars as pl

    for name in dataset.modalities:
        if not isinstance(items[name].dtype, pl.Struct):
            continue
        alike: Mapping[bytes, list[tuple[int, str, str]]] = defaultdict(list)
        for row, identity, split, cell in items.select(ROW, "id", "split", name).iter_rows():
            if cell is not None and cell.get("bytes"):
                alike[sha256(cell["bytes"]).digest()].append((row, identity, split))
        for group in alike.values():
            first, _, precious = max(group, key=lambda values: PRECIOUS[Split(values[2])])
            for row, identity, split in group:
                if split != precious:
                    yield Finding(
                        row, identity, name, f"the same content as row {first}, in {split} and in {precious}"
                    )


def _same_values(items: "pl.DataFrame", dataset: Dataset) -> Iterator[Finding]:
    """Rows whose values, where all stand in the table, are also those of a row in a more precious split."""
    import polars as pl

    names = list(dataset.modalities)
    if _path_modalities(items, dataset) or any(isinstance(items[name].dtype, pl.Struct) for name in names):
        return
    alike: Mapping[bytes, list[tuple[int, str, str]]] = defaultdict(list)
    columns = [items[name].to_numpy() if _is_array(items[name]) else items[name].to_list() for name in names]
    for place, row in enumerate(items.select(ROW, "id", "split").iter_rows()):
        alike[_digest([column[place] for column in columns])].append(row)
    for group in alike.values():
        first, _, precious = max(group, key=lambda values: PRECIOUS[Split(values[2])])
        for number, identity, split in group:
            if split != precious:
                what = f"the same values as row {first}, in {split} and in {precious}"
                yield Finding(number, identity, ", ".join(names), what)


def _is_array(column: "pl.Series") -> bool:
    import polars as pl

    return isinstance(column.dtype, pl.Array) and not column.null_count()


def _digest(values: Iterable[Any]) -> bytes:
    digest = sha256()
    for value in values:
        digest.update(value.tobytes() if hasattr(value, "tobytes") else repr(value).encode())
        digest.update(b"\0")
    return digest.digest()


def _alike(rows: Iterable[tuple[int, str, str, str]], root: Path) -> Iterator[list[tuple[int, str, str, str]]]:
    """Rows of equal content that are in several splits. Only what is of equal size is read."""
    by_size: Mapping[tuple[int, ...], list[tuple[int, str, str, str]]] = defaultdict(list)
    for values in rows:
        if sizes := raw_files.sizes(root / values[3]):
            by_size[sizes].append(values)
    for group in by_size.values():
        if len({split for _, _, split, _ in group}) > 1:
            by_content: Mapping[tuple[str, ...], list[tuple[int, str, str, str]]] = defaultdict(list)
            for values in group:
                by_content[raw_files.checksums(root / values[3])].append(values)
            yield from (same for same in by_content.values() if len({split for _, _, split, _ in same}) > 1)
