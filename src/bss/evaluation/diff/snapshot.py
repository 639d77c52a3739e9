"""One state of a workspace in a folder: params.yaml and the artifacts in their places, whichever are there."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl

from bss import paths
from bss.data.packed import MANIFEST, META, PRESENT, Meta
from bss.errors import InputError
from bss.evaluation.report.grid import Cell, as_judged
from bss.params import ALONE, BASELINE
from bss.parsing import read_mapping
from bss.types import Split

PARAMS = Path("params.yaml")
PLACES = (
    *(PARAMS, paths.PACKED, paths.scores(0).parent, paths.curriculum("", 0).parent, paths.run("", "", 0).parent),
    *(paths.metrics("", "", 0).parent, paths.predictions("", "", 0).parent),
)
"""What a snapshot is made of."""
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
    """As a reader knows it: a revision or a folder."""
    folder: Path
    missing: tuple[str, ...] = ()
    """Files and folders that belong to it and are not there."""
    remedy: str = ""
    """What a reader types to have them."""

    def __post_init__(self) -> None:
        if not any((self.folder / place).exists() for place in PLACES):
            raise InputError(f"{self.name} has neither params.yaml nor artifacts (looked for {_listed(PLACES)})")

    def lacks(self, place: Path) -> bool:
        """Whether a file belongs to the snapshot and is not there."""
        return any(
            path in {place.as_posix(), *(above.as_posix() for above in place.parents)} for path in self.missing
        )

    @cached_property
    def params(self) -> dict[str, Any] | None:
        """The content of params.yaml."""
        return read_mapping(self.folder / PARAMS) if (self.folder / PARAMS).is_file() else None

    @cached_property
    def meta(self) -> Meta | None:
        """What the packed data set holds."""
        return Meta.read(self.folder / paths.PACKED) if (self.folder / paths.PACKED / META).is_file() else None

    @cached_property
    def manifest(self) -> pl.DataFrame:
        """A row a pair of all splits: id, split, row in its split's arrays, class; and which modalities it has."""
        columns = ["id", "class", "^.*" + PRESENT + "$"]
        tables = []
        for split in Split:
            place = self.array(split, MANIFEST)
            if place.is_file():
                table = read(place).select(pl.col(columns))
                tables.append(table.with_columns(split=pl.lit(split.value)).with_row_index("row"))
        empty = pl.DataFrame(schema={"row": pl.UInt32, "id": pl.String, "class": pl.String, "split": pl.String})
        return pl.concat(tables, how="diagonal") if tables else empty

    def array(self, split: str, name: str) -> Path:
        """Where a file of a split of the packed data lies."""
        return self.folder / paths.PACKED / split / name

    @cached_property
    def scores(self) -> dict[int, pl.DataFrame]:
        """Seed -> the scores of the training pairs: id, class, balance_score and the criteria."""
        found = sorted((self.folder / paths.scores(0).parent).glob("*.parquet"))
        return {_seed(path.stem): self._with_classes(read(path), "label") for path in found if self._has(path)}

    @cached_property
    def plans(self) -> dict[Plan, Path]:
        """Scheduler and seed -> the folder of the order and the sequences."""
        folder = self.folder / paths.curriculum("", 0).parent
        found = {_plan(path.name): path for path in sorted(folder.glob("*-*")) if self._has(path)}
        return {plan: path for plan, path in found.items() if (path / "order.parquet").is_file()}

    @cached_property
    def draws(self) -> dict[Cell, pl.DataFrame]:
        """Cell -> how often training has drawn each pair: id, num_draws."""
        return {cell(path.name): read(path / "draws.parquet") for path in self._folders(paths.run, "draws.parquet")}

    @cached_property
    def metrics(self) -> dict[Cell, pl.DataFrame]:
        """Cell -> a row an output that was judged: its metrics, and the numbers of steps and samples."""
        found = sorted((self.folder / paths.metrics("", "", 0).parent).glob("*-*-*.json"))
        return {cell(path.stem): _metrics(path) for path in found if self._has(path)}

    @cached_property
    def predictions(self) -> dict[Cell, pl.DataFrame]:
        """Cell -> a row a test pair and output: id, class and prediction by their names."""
        found = {}
        for path in self._folders(paths.predictions, "predictions.parquet"):
            table = as_judged(read(path / "predictions.parquet"))
            found[cell(path.name)] = self._with_classes(table, "label", "prediction")
        return found

    def _folders(self, place: Callable[[str, str, int], Path], name: str) -> list[Path]:
        found = sorted((self.folder / place("", "", 0).parent).glob(f"*-*-*/{name}"))
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
    if not isinstance(grid, Mapping) or place.parent == paths.PACKED:
        return True
    if place.parent == paths.scores(0).parent:
        return _seed(place.stem) in grid["seeds"]
    if place.parent == paths.curriculum("", 0).parent:
        scheduler, seed = _plan(place.stem)
        return scheduler in grid["schedulers"] and seed in grid["seeds"]
    method, scheduler, seed = cell(place.stem)
    methods = [*grid["methods"], *([ALONE] if scheduler == BASELINE else [])]
    return method in methods and scheduler in grid["schedulers"] and seed in grid["seeds"]


def cell(key: str) -> Cell:
    """Method, scheduler and seed of METHOD-SCHEDULER-SEED; a method's name has no hyphen."""
    method, _, plan = key.partition("-")
    return method, *_plan(plan)


def read(path: Path, columns: list[str] | None = None) -> pl.DataFrame:
    """A table of a snapshot, or some of its columns.

    Raises:
        InputError: the file is damaged.
    """
    try:
        return pl.read_parquet(path, columns=columns)
    except pl.exceptions.PolarsError as error:
        raise InputError(f"{path} is damaged: {str(error).splitlines()[0]}") from error


def _plan(key: str) -> Plan:
    scheduler, _, seed = key.rpartition("-")
    return scheduler, _seed(seed)


def _seed(text: str) -> int:
    return int(text) if text.isdecimal() else -1


def _metrics(path: Path) -> pl.DataFrame:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path} is damaged: {error}") from error
    counts = {name: found.pop(name) for name in ("num_steps", "num_samples") if name in found}
    rows = [{"output": name, **found[name], **counts} for name in found if name not in {"rule", "weights"}]
    return as_judged(pl.DataFrame(rows))


def _listed(places: tuple[Path, ...]) -> str:
    return ", ".join(place.as_posix() for place in places)
