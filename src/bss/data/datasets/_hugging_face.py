"""Data sets of Hugging Face as tables: a folder that `save_to_disk` has written, or a name of the hub."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bss.errors import InputError, Unavailable
from bss.registry import UnknownName

if TYPE_CHECKING:
    import polars as pl


def is_saved(folder: Path) -> bool:
    """Whether `save_to_disk` has written a folder."""
    return any((folder / name).is_file() for name in ("dataset_dict.json", "state.json"))


def read_saved(folder: Path, parts: Sequence[str] = ()) -> "pl.DataFrame":
    """The rows of a folder that `save_to_disk` has written.

    Args:
        folder: of a `Dataset`, or of a `DatasetDict`.
        parts: of a `DatasetDict`, those that are read; all where there are none.

    Raises:
        InputError: the package `datasets` is missing, the folder is damaged, or a part is unknown.
    """
    datasets = _package(str(folder))
    try:
        found = datasets.load_from_disk(str(folder))
    except (OSError, ValueError, KeyError, TypeError) as error:  # what a damaged description is answered with
        raise InputError(f"{folder} cannot be read as a data set: {_line(error)}; save it again") from error
    return _table(found if isinstance(found, Mapping) else {"": found}, parts, str(folder))


def read_hub(name: str, config: str | None, revision: str | None, parts: Sequence[str] = ()) -> "pl.DataFrame":
    """The rows of a data set of the hub, which is downloaded where the cache of `datasets` lacks it.

    Args:
        name: `OWNER/NAME`, or a folder of files that `datasets.load_dataset` reads.
        config: its configuration, where it has several.
        revision: a commit or tag of it; the newest where None.
        parts: the splits that are read; all where there are none.

    Raises:
        InputError: the package `datasets` is missing, or there is no such data set, configuration or part.
        Unavailable: the hub does not answer.
    """
    datasets = _package(name)
    try:
        found = datasets.load_dataset(name, config, revision=revision)
    except ConnectionError as error:
        raise Unavailable(f"the hub does not answer for '{name}': {_line(error)}") from error
    except (OSError, ValueError, RuntimeError) as error:  # no such name, no such configuration, a script, damage
        raise InputError(f"preprocess.hub: '{name}' cannot be read: {_line(error)}") from error
    return _table(found, parts, name)


def _package(origin: str) -> Any:
    try:
        import datasets
    except ModuleNotFoundError:
        raise InputError(
            f"{origin}: a data set of Hugging Face needs datasets: pip install 'bss[datasets]'"
        ) from None
    return datasets


def _line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def _table(found: Mapping[str, Any], wanted: Sequence[str], origin: str) -> "pl.DataFrame":
    """The parts one after the other; of several the column `split` says which."""
    import polars as pl

    for name in wanted:
        if name not in found:
            raise UnknownName(f"part of {origin}", name, found)
    tables = []
    for name in wanted or found:
        table = _rows(found[name])
        several = len(wanted or found) > 1 and "split" not in table.columns
        tables.append(table.with_columns(split=pl.lit(name)) if several else table)
    return pl.concat(tables, how="diagonal_relaxed")


def _rows(part: Any) -> "pl.DataFrame":
    """The rows of a part: what it would decode as `{bytes, path}`, and the names of classes for their numbers."""
    import polars as pl

    media = [name for name, feature in part.features.items() if hasattr(feature, "decode")]
    for name in media:
        part = part.cast_column(name, replace(part.features[name], decode=False))
    table: pl.DataFrame = part.to_polars()
    for name, feature in part.features.items():
        column = table[name]
        if name in media:
            table = table.with_columns(_with_bytes(column))
        elif hasattr(feature, "int2str"):
            table = table.with_columns(_class_names(column, feature.names))
        elif str(column.dtype).startswith("Extension"):  # an array of several axes
            table = table.with_columns(column.ext.storage())
    return table


def _with_bytes(column: "pl.Series") -> "pl.Series":
    """Cells that hold a path alone, with what the file holds; where there is no such file, the cell stays."""
    import polars as pl

    def filled(cell: dict[str, Any] | None) -> dict[str, Any] | None:
        if cell is not None and cell["bytes"] is None and cell["path"]:
            with suppress(OSError):
                return {**cell, "bytes": Path(cell["path"]).read_bytes()}
        return cell

    if not column.struct.field("bytes").null_count():
        return column
    return pl.Series(column.name, [filled(cell) for cell in column], dtype=column.dtype)


def _class_names(column: "pl.Series", names: Sequence[str]) -> "pl.Series":
    """The names for the numbers; -1, which published test splits have, is none."""
    import polars as pl

    return pl.Series(column.name, [None if at is None or at < 0 else names[at] for at in column], dtype=pl.String)
