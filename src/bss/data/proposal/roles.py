"""The columns that are no modality: label, id, split and group."""

from collections.abc import Iterable, Sequence, Set
from typing import TYPE_CHECKING

from bss.data.datasets._labels import is_none, natural_order
from bss.data.datasets.manifest import SPLITS
from bss.data.proposal.column import Column, is_number, is_whole
from bss.errors import InputError
from bss.wording import counted

if TYPE_CHECKING:
    import polars as pl

LABELS = ("label", "labels", "class", "classes", "target", "category", "y")
IDS = ("id", "key", "uid", "uuid", "name", "clip", "sample", "index")
GROUPS = ("group", "speaker", "actor", "subject", "patient", "participant", "person", "user", "session")
MAX_CLASSES = 1000
NUM_NAMED = 4
"""Values that a message names."""
UNSUITED = {
    "id": "a value is there twice",
    "group": "one is in two splits",
    "split": "a value is none of train, validation and test",
}
"""Role -> why a column of that name is not it."""


def split_of(table: "pl.DataFrame") -> Column | None:
    """The column that says the split of every row."""
    import polars as pl

    for name in sorted(table.columns, key=lambda name: name != "split"):
        column = table[name]
        if isinstance(column.dtype, pl.String | pl.Categorical | pl.Enum) and not column.null_count():
            found = column.cast(pl.String).str.strip_chars().str.to_lowercase().value_counts(sort=True).rows()
            if {value for value, _ in found} <= SPLITS.keys():
                return Column([name], "split", ", ".join(f"{value} {number}" for value, number in found))
    return None


def id_of(table: "pl.DataFrame", names: Iterable[str]) -> Column | None:
    """The column of the ids: by its name, or the first one of texts; no value of it is there twice."""
    import polars as pl

    unique = [name for name in names if table[name].n_unique() == len(table) > 1]
    named = sorted((name for name in unique if name.lower() in IDS), key=lambda name: IDS.index(name.lower()))
    texts = [name for name in unique if table[name].dtype == pl.String and not is_number(table[name])]
    return Column([[*named, *texts][0]], "id", "each value once") if named or texts else None


def group_of(table: "pl.DataFrame", names: Iterable[str], split: Column | None) -> Column | None:
    """The column whose rows belong together, by its name; none where one of them is in two splits."""
    for name in sorted((name for name in names if name.lower() in GROUPS), key=lambda name: name != "group"):
        number = table[name].n_unique()
        if split is not None and table.select(name, split.columns[0]).n_unique() > number:
            continue
        return Column([name], "group", f"its name; {number} of them, each in one split")
    return None


def unsuited(taken: Set[str], names: Iterable[str]) -> dict[str, Column]:
    """Columns that do not suit a role, but that `manifest` reads as it for their name, as no other column has it."""
    return {
        name: Column([name], name, f"its name, but {UNSUITED[name]}: bss check will complain; rename the column")
        for name in names
        if name in UNSUITED and name not in taken
    }


def label_of(table: "pl.DataFrame", names: Sequence[str], origin: str) -> Column:
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
        return Column(candidates, "label", f"{reason}; {classes_of(table[candidates[0]])}")
    if not candidates:
        raise InputError(
            f"{origin}: no column seems to be the label (there are: {', '.join(table.columns)}); say which one with "
            "--label COLUMN"
        )
    found = "\n".join(f"  {name}: {classes_of(table[name])}" for name in candidates)
    raise InputError(f"{origin}: several columns may be the label; say which one with --label COLUMN\n{found}")


def _is_of_classes(column: "pl.Series") -> bool:
    number = column.drop_nulls().n_unique()
    if is_number(column) and not is_whole(column):
        return False
    return 2 <= number <= min(MAX_CLASSES, len(column) // 2)


def classes_of(column: "pl.Series") -> str:
    """How many classes there are, and the first of them."""
    import polars as pl

    texts = column.cast(pl.String, strict=False).drop_nulls().unique()
    found = natural_order(value for value in texts if not is_none(value))
    rest = ", ..." if len(found) > NUM_NAMED else ""
    return f"{counted(len(found), 'class')}: {', '.join(found[:NUM_NAMED])}{rest}"
