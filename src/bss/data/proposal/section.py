"""The section of params.yaml for a table, and what a person is shown of it."""

import os
import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bss.data.datasets._table import absence, read_table
from bss.data.datasets.manifest import OWN, ROLES, SPLITS, Manifest
from bss.data.proposal.column import Column
from bss.data.proposal.columns import WHOLE, read_columns
from bss.errors import InputError, MissingInput
from bss.parsing import dumped
from bss.paths import absolute
from bss.types import RESERVED
from bss.wording import counted

WIDTH, MAX_NAME = 80, 28
NUM_NAMED = 4
"""Columns that a hint names."""
EXTENSION = re.compile(r"[a-z0-9]{2,4}")
"""What members of a shard are called; the kind says more."""
NOT_ALLOWED = {*ROLES, *OWN, *RESERVED}
"""What no modality of a table is called."""


@dataclass(frozen=True)
class Proposal:
    """What a table seems to be."""

    table: str
    num_rows: int
    columns: list[Column]
    raw: str
    preprocess: dict[str, Any]
    """As params.yaml has it."""

    @property
    def explained(self) -> str:
        """What each column seems to be and why, in 80 characters."""
        rows = [(_short(column), column.what, column.why) for column in self.columns]
        first, second = (
            max(map(len, cells)) for cells in list(zip(*rows, ("column", "taken as", ""), strict=True))[:2]
        )
        lines = [
            f"{self.table}: {counted(self.num_rows, 'row')}",
            "",
            f"{'column':<{first}}  {'taken as':<{second}}  why",
        ]
        for name, what, why in rows:
            indent = " " * (first + second + 4)
            wrapped = textwrap.wrap(why, WIDTH, initial_indent=indent, subsequent_indent=indent)
            lines += [f"{name:<{first}}  {what:<{second}}  {wrapped[0].strip()}", *wrapped[1:]]
        return "\n".join([*lines, *_on_whole_numbers(self.columns)])

    @property
    def section(self) -> str:
        """`raw` and `preprocess` in YAML, in 80 characters."""
        lines = [dumped({"raw": self.raw}).strip(), "preprocess:"]
        for key, value in self.preprocess.items():
            if key == "kinds":
                lines.append("  kinds:")
                lines += [line for name, kind in value.items() for line in _wrapped(4, name, kind)]
            else:
                lines += _wrapped(2, key, value)
        return "\n".join(lines)


def propose(table: Path, label: str | None = None, root: Path | None = None) -> Proposal:
    """What a table seems to be.

    Args:
        table: of any form that `manifest` reads.
        label: the column of the labels, where several could be.
        root: the folder that paths start from; that of the table where left out.

    Raises:
        InputError: there is no such table, its label is not clear, or it has fewer than two modalities.
    """
    if reason := absence(table):
        raise MissingInput(reason)
    if root is not None and not root.is_dir():
        raise MissingInput(f"--root {root}: no such folder in {Path.cwd()}")
    rows = read_table(table, splits=SPLITS.keys())
    any_kinds = {name: {"name": "features"} for name in ("a", "b")}
    of_root = {} if root is None else {"root": str(root)}
    bare = Manifest.model_validate({"file": str(table), "kinds": any_kinds, **of_root})
    *_, folder = bare.inputs
    columns = read_columns(rows, folder, str(table), label)
    named = _named([column for column in columns if column.kind is not None])
    if len(named) < 2:
        known = ", ".join(named) or "none"
        raise InputError(f"{table}: two modalities are needed, and of them there are: {known}\n{_reasons(columns)}")
    kinds = {name: column.kind for name, column in named.items()}
    places: dict[str, str | list[str]] = {
        column.what: column.columns[0] for column in columns if column.what in ROLES
    }
    places = {role: place for role, place in places.items() if role != place}
    places |= {name: column.pattern for name, column in named.items() if column.pattern != name}
    lacks = any(rows[name].null_count() for column in named.values() for name in column.columns)
    preprocess: dict[str, Any] = {"name": "manifest", "file": str(table), **of_root, "kinds": kinds}
    preprocess |= {"columns": places} if places else {}
    preprocess["missing"] = "mask" if lacks else "refuse"
    dataset = Manifest.model_validate({key: value for key, value in preprocess.items() if key != "name"})
    return Proposal(str(table), len(rows), columns, _raw(dataset), preprocess)


def _named(columns: Sequence[Column]) -> dict[str, Column]:
    """A name for each modality: that of its column as far as it is allowed, or of its kind."""
    found: dict[str, Column] = {}
    for column in columns:
        stem = column.columns[0] if len(column.columns) == 1 else _stem(column)
        plain = re.sub(r"[^a-z0-9_]+", "_", stem.lower()).strip("_")
        is_plain = plain not in NOT_ALLOWED and re.match(r"[a-z0-9]", plain)
        name = plain if is_plain and not (EXTENSION.fullmatch(plain) and _is_ending(column)) else column.what
        number = 1
        unique = name
        while unique in found:
            number += 1
            unique = f"{name}_{number}"
        found[unique] = column
    return found


def _stem(column: Column) -> str:
    stem = re.sub(r"\d+$", "", column.columns[0]) if isinstance(column.pattern, str) else ""
    return stem.strip("_") or "numbers"


def _is_ending(column: Column) -> bool:
    endings = {"png", "jpg", "jpeg", "bmp", "gif", "webp", "tif", "tiff", "wav", "flac", "mp3", "ogg", "m4a", "mp4"}
    return column.columns[0].lower() in endings | {"avi", "mkv", "mov", "webm", "txt", "npy", "mat"}


def _raw(dataset: Manifest) -> str:
    """The folder that holds the table and its files.

    Raises:
        InputError: it is the current one, in which results lie too.
    """
    common = Path(os.path.commonpath([absolute(path) for path in dataset.inputs]))
    here = Path.cwd()
    if here.is_relative_to(common):
        raise InputError(
            f"{dataset.file}: its folder, {common}, holds this workspace too, and DVC watches all of it; move the "
            "table and its files into a folder of their own, such as data/mine"
        )
    return str(common.relative_to(here) if common.is_relative_to(here) else common)


def _short(column: Column) -> str:
    first, last = column.columns[0], column.columns[-1]
    name = first if first == last else f"{first} .. {last}"
    return name if len(name) <= MAX_NAME else f"{name[: MAX_NAME // 2 - 3]}...{name[-MAX_NAME // 2 :]}"


def _on_whole_numbers(columns: Sequence[Column]) -> list[str]:
    names = [column.columns[0] for column in columns if column.why.startswith(WHOLE)]
    if not names:
        return []
    added = {"columns": {"counts": names[:NUM_NAMED]}, "kinds": {"counts": {"name": "features"}}}
    asked = [line for key, value in added.items() for line in _wrapped(2, key, value)]
    return ["", "Whole numbers are left out. If they are measured or counted, add them:", *asked]


def _reasons(columns: Sequence[Column]) -> str:
    return "\n".join(f"  {_short(column)}: {column.why}" for column in columns)


def _wrapped(indent: int, key: str, value: Any) -> list[str]:
    text = dumped({key: value}, on_one_line=True)
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=" " * indent,
        subsequent_indent=" " * (indent + 2),
        break_long_words=False,
        break_on_hyphens=False,
    )
