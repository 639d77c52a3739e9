"""One state of a workspace in a folder: params.yaml and the artifacts in their places, whichever are there."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl

from bss.data.packed import MANIFEST, META, Meta
from bss.errors import InputError
from bss.evaluation.artifacts import as_judged, read_metrics, read_table
from bss.parsing import read_mapping
from bss.paths import HERE, Cell, Workspace
from bss.types import ALONE, BASELINE, PRESENT, Split

PLACES = (
    *(HERE.params, HERE.packed, HERE.all_scores, HERE.curricula, HERE.runs),
    *(HERE.all_metrics, HERE.all_predictions),
)
"""The files and folders that a snapshot is made of."""
Plan = tuple[str, int]
"""Scheduler, seed."""


@dataclass(frozen=True)
class Snapshot:
    """A state of a workspace; each file is read when it is asked for.

    Where params.yaml has a grid, only the artifacts of that grid count: DVC forgets no cell that was ever run.

    Raises:
        InputError: when read, of a file that is damaged.
    """

    name: str
    """The revision or the folder, as the reader has typed it."""
    folder: Path
    missing: tuple[str, ...] = ()
    """Files and folders that belong to it and are not there."""
    remedy: str = ""
    """The command that fetches them."""

    def __post_init__(self) -> None:
        if not any((self.folder / place).exists() for place in PLACES):
            raise InputError(f"{self.name} has neither params.yaml nor artifacts (looked for {_listed(PLACES)})")

    @property
    def workspace(self) -> Workspace:
        """Where its files lie."""
        return Workspace(self.folder)

    def lacks(self, place: Path) -> bool:
        """Whether a file belongs to the snapshot and is not there."""
        return any(
            path in {place.as_posix(), *(above.as_posix() for above in place.parents)} for path in self.missing
        )

    @cached_property
    def params(self) -> dict[str, Any] | None:
        """The content of params.yaml."""
        path = self.workspace.params
        return read_mapping(path) if path.is_file() else None

    @cached_property
    def meta(self) -> Meta | None:
        """The description of the packed data set."""
        packed = self.workspace.packed
        return Meta.read(packed) if (packed / META).is_file() else None

    @cached_property
    def manifest(self) -> pl.DataFrame:
        """A row a pair of all splits: id, split, row in its split's arrays, class; and which modalities it has."""
        columns = ["id", "class", "^.*" + PRESENT + "$"]
        tables = []
        for split in Split:
            place = self.array(split, MANIFEST)
            if place.is_file():
                table = read_table(place).select(pl.col(columns))
                tables.append(table.with_columns(split=pl.lit(split.value)).with_row_index("row"))
        empty = pl.DataFrame(schema={"row": pl.UInt32, "id": pl.String, "class": pl.String, "split": pl.String})
        return pl.concat(tables, how="diagonal") if tables else empty

    def array(self, split: str, name: str) -> Path:
        """Where a file of a split of the packed data lies."""
        return self.workspace.packed / split / name

    @cached_property
    def scores(self) -> dict[int, pl.DataFrame]:
        """Seed -> the scores of the training pairs: id, class, balance_score and the criteria."""
        found = sorted(self.workspace.all_scores.glob("*.parquet"))
        return {_seed(path.stem): self._with_classes(read_table(path), "label") for path in found if self._has(path)}

    @cached_property
    def plans(self) -> dict[Plan, Path]:
        """Scheduler and seed -> the folder of the order and the sequences."""
        places = sorted(self.workspace.curricula.glob("*-*"))
        found = {_plan(path.name): path for path in places if self._has(path)}
        return {plan: path for plan, path in found.items() if (path / "order.parquet").is_file()}

    @cached_property
    def draws(self) -> dict[Cell, pl.DataFrame]:
        """Cell -> how often training has drawn each pair: id, num_draws."""
        places = self._folders(self.workspace.runs, "draws.parquet")
        return {_cell(path.name): read_table(path / "draws.parquet") for path in places}

    @cached_property
    def metrics(self) -> dict[Cell, pl.DataFrame]:
        """Cell -> a row an output that was judged: its metrics, and the numbers of steps and samples."""
        places = sorted(self.workspace.all_metrics.glob("*-*-*.json"))
        return {_cell(path.stem): read_metrics(path) for path in places if self._has(path)}

    @cached_property
    def predictions(self) -> dict[Cell, pl.DataFrame]:
        """Cell -> a row a test pair and output: id, class and prediction by their names."""
        found = {}
        for path in self._folders(self.workspace.all_predictions, "predictions.parquet"):
            table = as_judged(read_table(path / "predictions.parquet"))
            found[_cell(path.name)] = self._with_classes(table, "label", "prediction")
        return found

    def _folders(self, place: Path, name: str) -> list[Path]:
        found = sorted(place.glob(f"*-*-*/{name}"))
        return [path.parent for path in found if self._has(path.parent)]

    def _has(self, path: Path) -> bool:
        return belongs(path.relative_to(self.folder), self.params)

    def _with_classes(self, table: pl.DataFrame, *columns: str) -> pl.DataFrame:
        """The numbers of classes in columns as their names; `label` becomes `class`."""
        names = dict(enumerate(self.meta.classes)) if self.meta else {}
        named = [pl.col(name).cast(pl.Int64).replace_strict(names, default=pl.col(name).cast(pl.String),
                 return_dtype=pl.String) for name in columns]  # fmt: skip
        return table.with_columns(named).rename({"label": "class"})


def belongs(place: Path, params: Mapping[str, Any] | None) -> bool:
    """Whether an artifact is one of the grid of params.yaml; without a grid all are.

    Args:
        place: of a file, or of the folder that is an artifact, relative to the workspace.
        params: the content of params.yaml.
    """
    grid = (params or {}).get("grid")
    if not isinstance(grid, Mapping) or place.parent == HERE.packed:
        return True
    if place.parent == HERE.all_scores:
        return _seed(place.stem) in grid["seeds"]
    if place.parent == HERE.curricula:
        scheduler, seed = _plan(place.stem)
        return scheduler in grid["schedulers"] and seed in grid["seeds"]
    method, scheduler, seed = _cell(place.stem)
    methods = [*grid["methods"], *([ALONE] if scheduler == BASELINE else [])]
    return method in methods and scheduler in grid["schedulers"] and seed in grid["seeds"]


def _cell(key: str) -> Cell:
    method, _, plan = key.partition("-")
    return Cell(method, *_plan(plan))


def _plan(key: str) -> Plan:
    scheduler, _, seed = key.rpartition("-")
    return scheduler, _seed(seed)


def _seed(text: str) -> int:
    return int(text) if text.isdecimal() else -1


def _listed(places: tuple[Path, ...]) -> str:
    return ", ".join(place.as_posix() for place in places)
