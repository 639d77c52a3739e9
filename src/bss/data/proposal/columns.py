"""What each column of a table seems to be."""

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bss.data.datasets._labels import is_none, natural_order
from bss.data.datasets.manifest import SPLITS
from bss.data.packing.blocks import raw_values
from bss.data.proposal.files import NUM_READ, Seen, look, texts
from bss.errors import InputError
from bss.registry import UnknownName

if TYPE_CHECKING:
    import polars as pl

LABELS = ("label", "labels", "class", "classes", "target", "category", "y")
IDS = ("id", "key", "uid", "uuid", "name", "clip", "sample", "index")
GROUPS = ("group", "speaker", "actor", "subject", "patient", "participant", "person", "user", "session")
MAX_CLASSES = 1000
MIN_WORDS = 3
"""Words that texts have on average; of fewer a column is of names."""
MIN_NUMBERED = 3
"""Columns `a0`, `a1`, ... that are taken for one modality."""
NUM_NAMED = 4
"""Values that a message names."""
ENDING = re.compile(r"\.(wav|flac|mp3|ogg|m4a|png|jpe?g|bmp|gif|webp|tiff?|mp4|avi|mkv|mov|webm|npy|mat)$", re.I)


@dataclass(frozen=True)
class Column:
    """One column, or several that are one modality."""

    columns: list[str]
    what: str
    """`label`, `id`, `split`, `group`, the name of a kind, or `-`: kept beside the pairs."""
    why: str
    kind: dict[str, Any] | None = field(default=None)
    """Of a modality."""
    pattern: str | list[str] = ""
    """The columns as `columns` in params.yaml names them."""


def read_columns(table: "pl.DataFrame", root: Path, origin: str, label: str | None) -> list[Column]:
    """What each column seems to be, in the order of the table.

    Args:
        table: all of it.
        root: what paths start from.
        origin: what messages call the table.
        label: the column of the labels, if it is known.

    Raises:
        InputError: several columns may be the label, or none; or a column has paths, and no file is there.
    """
    split = _split(table)
    media = {name: found for name in table.columns if (found := _media(table[name], root, origin)) is not None}
    roles: dict[str, Column] = {} if split is None else {split.columns[0]: split}
    if label is not None:
        if label not in table.columns:
            raise UnknownName("column", label, table.columns)
        roles[label] = Column([label], "label", f"--label; {_classes(table[label])}")
    rest = [name for name in table.columns if name not in roles and name not in media]
    numbers = _numbered([name for name in rest if _is_number(table[name])])
    rest = [name for name in rest if all(name not in found.columns for found in numbers)]
    roles |= {found.columns[0]: found for found in (_id(table, rest), _group(table, rest, split)) if found}
    if label is None:
        found = _label(table, [name for name in rest if name not in roles], origin)
        roles[found.columns[0]] = found
    rest = [name for name in rest if name not in roles]
    fractions = [name for name in rest if _is_number(table[name]) and not _is_whole(table[name])]
    if fractions:
        why = f"{len(fractions)} column{'s' * (len(fractions) > 1)} of numbers"
        numbers.append(Column(fractions, "features", why, {"name": "features", "size": len(fractions)}, fractions))
    of_several = {found.columns[0]: found for found in numbers}
    inner = {name for found in numbers for name in found.columns[1:]}
    return [
        roles.get(name) or media.get(name) or of_several.get(name) or Column([name], "-", _kept(table[name]))
        for name in table.columns
        if name not in inner
    ]


def _media(column: "pl.Series", root: Path, origin: str) -> Column | None:
    """A column whose cells are files, lists, arrays or texts; None where it is none of these."""
    import polars as pl

    there = column.drop_nulls()
    if there.dtype == pl.String:
        there = there.filter(there.str.strip_chars() != "")
    first = there.head(NUM_READ)
    if not len(first):
        return None
    if first.dtype == pl.String:
        found = _of_strings(first, root, origin)
    elif first.dtype == pl.Binary:
        found = look([{"bytes": value} for value in first])
    elif isinstance(first.dtype, pl.Struct | pl.List | pl.Array):
        found = look(raw_values(first, root, paths=True))
    else:
        return None
    if found is None:
        return None
    name = column.name
    what = "-" if found.kind is None else str(found.kind["name"])
    return Column([name], what, found.why, found.kind, name)


def _of_strings(first: "pl.Series", root: Path, origin: str) -> Seen | None:
    import json

    values = [str(value) for value in first]
    paths = [root / value.replace("\\", os.sep) for value in values]
    there = [path for path in paths if _exists(path)]
    if 2 * len(there) > len(paths):
        return look(there)
    if all(ENDING.search(value) for value in values):
        raise InputError(
            f"{origin}: '{values[0]}' of the column '{first.name}' is no file in {root}; say with --root which "
            "folder paths start from"
        )
    if all(value.lstrip().startswith("[") for value in values):
        try:
            return look([json.loads(value) for value in values])
        except json.JSONDecodeError:
            return Seen(None, "lists that cannot be read")
    words = sum(len(value.split()) for value in values)
    return texts(values) if words >= MIN_WORDS * len(values) else None


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a text that is too long for a path, or has a zero byte
        return False


def _is_number(column: "pl.Series") -> bool:
    """Whether all that is there is a number, also as a text."""
    import polars as pl

    there = column.drop_nulls()
    if column.dtype == pl.String:
        there = there.filter(there.str.strip_chars() != "")
        return len(there) > 0 and there.cast(pl.Float64, strict=False).null_count() == 0
    return len(there) > 0 and column.dtype.is_numeric()


def _is_whole(column: "pl.Series") -> bool:
    import polars as pl

    there = column.cast(pl.Float64, strict=False).drop_nulls()
    return bool((there == there.round()).all())


def _numbered(names: Sequence[str]) -> list[Column]:
    """Columns such as `a0`, `a1`, ..., `a127` as one modality each."""
    series: dict[str, list[str]] = {}
    for name in names:
        if match := re.fullmatch(r"(.*?)(\d+)", name):
            series.setdefault(match[1], []).append(name)
    found = []
    for stem, columns in series.items():
        places = [int(name.removeprefix(stem)) for name in columns]
        if len(columns) >= MIN_NUMBERED and places == list(range(places[0], places[0] + len(places))):
            pattern = f"{columns[0]}..{columns[-1]}"
            kind = {"name": "features", "size": len(columns)}
            found.append(Column(columns, "features", f"{len(columns)} columns of numbers", kind, pattern))
    return found


def _split(table: "pl.DataFrame") -> Column | None:
    import polars as pl

    for name in sorted(table.columns, key=lambda name: name != "split"):
        column = table[name]
        if column.dtype == pl.String and not column.null_count():
            found = column.str.strip_chars().str.to_lowercase().value_counts(sort=True).rows()
            if {value for value, _ in found} <= SPLITS.keys():
                return Column([name], "split", ", ".join(f"{value} {number}" for value, number in found))
    return None


def _id(table: "pl.DataFrame", names: Iterable[str]) -> Column | None:
    """The column of the ids: by its name, or the first one of texts; no value of it is there twice."""
    import polars as pl

    unique = [name for name in names if table[name].n_unique() == len(table) > 1]
    named = sorted((name for name in unique if name.lower() in IDS), key=lambda name: IDS.index(name.lower()))
    texts = [name for name in unique if table[name].dtype == pl.String and not _is_number(table[name])]
    return Column([[*named, *texts][0]], "id", "each value once") if named or texts else None


def _group(table: "pl.DataFrame", names: Iterable[str], split: Column | None) -> Column | None:
    """The column whose rows belong together, by its name; none where one of them is in two splits."""
    for name in sorted((name for name in names if name.lower() in GROUPS), key=lambda name: name != "group"):
        number = table[name].n_unique()
        if split is not None and table.select(name, split.columns[0]).n_unique() > number:
            continue
        return Column([name], "group", f"its name; {number} of them, each in one split")
    return None


def _label(table: "pl.DataFrame", names: Sequence[str], origin: str) -> Column:
    """The column of the labels: by its name, or the only one of few values.

    Raises:
        InputError: there are several, or none.
    """
    named = [name for name in names if name.lower() in LABELS]
    if "label" in named:
        named = ["label"]
    candidates = named or [name for name in names if _is_of_classes(table[name]) and name.lower() not in GROUPS]
    if len(candidates) == 1:
        reason = "its name" if named else "the only column of few values"
        return Column(candidates, "label", f"{reason}; {_classes(table[candidates[0]])}")
    if not candidates:
        raise InputError(
            f"{origin}: no column seems to be the label (there are: {', '.join(table.columns)}); say which one with "
            "--label COLUMN"
        )
    found = "\n".join(f"  {name}: {_classes(table[name])}" for name in candidates)
    raise InputError(f"{origin}: several columns may be the label; say which one with --label COLUMN\n{found}")


def _is_of_classes(column: "pl.Series") -> bool:
    number = column.drop_nulls().n_unique()
    if _is_number(column) and not _is_whole(column):
        return False
    return 2 <= number <= min(MAX_CLASSES, len(column) // 2)


def _classes(column: "pl.Series") -> str:
    import polars as pl

    texts = column.cast(pl.String, strict=False).drop_nulls().unique()
    found = natural_order(value for value in texts if not is_none(value))
    rest = ", ..." if len(found) > NUM_NAMED else ""
    return f"{len(found)} classes: {', '.join(found[:NUM_NAMED])}{rest}"


def _kept(column: "pl.Series") -> str:
    number = column.n_unique()
    return f"kept beside the pairs; {number} value{'s' * (number != 1)}"
