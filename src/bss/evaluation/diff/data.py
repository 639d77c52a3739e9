"""How the packed data of two snapshots differ: pairs that came, went, have another label, split or content."""

import filecmp
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from bss.errors import InputError
from bss.evaluation.diff.scores import keyed
from bss.evaluation.diff.snapshot import Snapshot
from bss.types import PRESENT

NUM_BYTES = 1 << 26
"""Bytes of one array that are compared at a time."""


@dataclass(frozen=True)
class DataDifference:
    """The pairs of all splits, before and after, told apart by their ids; a table has a row a pair."""

    num_before: Mapping[str, int]
    """Split -> number of pairs."""
    num_after: Mapping[str, int]
    added: pl.DataFrame
    """id, split, class."""
    removed: pl.DataFrame
    """id, split, class."""
    moved: pl.DataFrame
    """id, class, before and after: splits."""
    relabelled: pl.DataFrame
    """id, split, before and after: classes."""
    content: pl.DataFrame
    """id, split, class, modality: a row a pair and modality whose values differ."""
    modalities: tuple[tuple[str, str, str], ...]
    """Modality, before, after: one that came or went, or whose arrays have another shape or type."""

    @property
    def changed(self) -> bool:
        """Whether a pair or an array differs."""
        tables = (self.added, self.removed, self.moved, self.relabelled, self.content)
        return bool(self.modalities) or not all(table.is_empty() for table in tables)


def data_difference(before: Snapshot, after: Snapshot) -> DataDifference:
    """Compare the manifests, then the arrays of the pairs that both have, a block of rows at a time.

    Contents are compared as bytes. Arrays of another shape or type are not compared row by row.

    Raises:
        InputError: a file is damaged.
    """
    old, new = keyed(before.manifest), keyed(after.manifest)
    key = ["id", "copy"]
    common = old.join(new, on=key, suffix="_after", maintain_order="left")
    layouts = [_layouts(snapshot) for snapshot in (before, after)]
    names = list(dict.fromkeys([*layouts[0], *layouts[1]]))
    differing = {name for name in names if layouts[0].get(name) != layouts[1].get(name)}
    return DataDifference(
        _counts(old),
        _counts(new),
        new.join(old, on=key, how="anti", maintain_order="left").select("id", "split", "class"),
        old.join(new, on=key, how="anti", maintain_order="left").select("id", "split", "class"),
        _changes(common, "split", "class_after"),
        _changes(common, "class", "split_after"),
        pl.concat([_content(common, name, before, after) for name in names if name not in differing] or [_EMPTY]),
        tuple((name, layouts[0].get(name, "-"), layouts[1].get(name, "-")) for name in names if name in differing),
    )


def changed_rows(
    first: NDArray[np.generic],
    second: NDArray[np.generic],
    rows: Sequence[NDArray[np.integer]],
    num_bytes: int = NUM_BYTES,
) -> NDArray[np.bool_]:
    """Which rows hold other bytes, (B,) bool: of two arrays (N, *shape) of one type, as many of each as fit a block.

    Args:
        first: may be a memory map.
        second: of the same shape, but for N.
        rows: the rows (B,) of the first, and those of the second to compare them with.
        num_bytes: of an array in one block; changes no result.
    """
    changed = np.zeros(len(rows[0]), dtype=bool)
    num_rows = max(1, num_bytes // max(1, first[:1].nbytes))
    for start in range(0, len(changed), num_rows):
        block = slice(start, start + num_rows)
        changed[block] = (_bytes(first[rows[0][block]]) != _bytes(second[rows[1][block]])).any(axis=1)
    return changed


def same_bytes(first: Path, second: Path) -> bool:
    """Whether two files hold the same; one object of a cache is not read to find out."""
    return first.samefile(second) or filecmp.cmp(first, second, shallow=False)


_EMPTY = pl.DataFrame(schema=dict.fromkeys(("id", "split", "class", "modality"), pl.String))


def _counts(manifest: pl.DataFrame) -> dict[str, int]:
    return dict(manifest.group_by("split", maintain_order=True).len().iter_rows())


def _layouts(snapshot: Snapshot) -> dict[str, str]:
    """Modality -> kind and shape of one sample."""
    found = snapshot.meta.modalities if snapshot.meta else {}
    return {name: f"{one.kind} {'x'.join(map(str, one.shape))}" for name, one in found.items()}


def _changes(common: pl.DataFrame, column: str, other: str) -> pl.DataFrame:
    rows = common.filter(pl.col(column) != pl.col(f"{column}_after"))
    kept = pl.col(other).alias(other.removesuffix("_after"))
    return rows.select("id", kept, before=pl.col(column), after=pl.col(f"{column}_after"))


def _content(common: pl.DataFrame, name: str, before: Snapshot, after: Snapshot) -> pl.DataFrame:
    """The pairs with other values of a modality; where a pair moved, its split is the new one."""
    changed = _presence(common, name)
    for (old_split, new_split), places in common.with_row_index("place").group_by("split", "split_after"):
        files = before.array(str(old_split), f"{name}.npy"), after.array(str(new_split), f"{name}.npy")
        if all(file.is_file() for file in files):
            changed[places["place"].to_numpy()] |= _differing(files, places)
    rows = common.filter(pl.Series(changed)).select("id", split=pl.col("split_after"), **{"class": "class_after"})
    return rows.with_columns(modality=pl.lit(name))


def _presence(common: pl.DataFrame, name: str) -> NDArray[np.bool_]:
    """Which pairs have a value of a modality on one side alone; a manifest without that column has all of them."""
    columns = [f"{name}{PRESENT}{suffix}" for suffix in ("", "_after")]
    first, second = (
        common[column].fill_null(value=True) if column in common.columns else pl.repeat(True, len(common), eager=True)
        for column in columns
    )
    return (first != second).to_numpy().copy()


def _differing(files: tuple[Path, Path], places: pl.DataFrame) -> NDArray[np.bool_]:
    rows = places["row"].to_numpy(), places["row_after"].to_numpy()
    if np.array_equal(rows[0], rows[1]) and same_bytes(*files):
        return np.zeros(len(places), dtype=bool)
    first, second = (_mapped(file) for file in files)
    if first.dtype != second.dtype or first.shape[1:] != second.shape[1:]:
        return np.ones(len(places), dtype=bool)
    return changed_rows(first, second, rows)


def _mapped(file: Path) -> NDArray[np.generic]:
    try:
        array: NDArray[np.generic] = np.load(file, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise InputError(f"{file} is damaged: {error}") from error
    return array


def _bytes(rows: NDArray[np.generic]) -> NDArray[np.uint8]:
    """The bytes (B, num_bytes) of rows (B, *shape)."""
    return np.ascontiguousarray(rows).reshape(len(rows), -1).view(np.uint8)
