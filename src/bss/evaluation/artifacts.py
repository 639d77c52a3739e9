"""Readers of what the stages left: metrics, histories and other tables of a grid's cells, in any workspace."""

import json
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import polars as pl

from bss.errors import InputError
from bss.files import existing
from bss.paths import Cell, Workspace
from bss.types import FUSED, JUDGED


def read_table(path: Path, columns: list[str] | None = None) -> pl.DataFrame:
    """A Parquet table that a stage wrote, or some of its columns.

    Raises:
        MissingInput: it is not there.
        InputError: it is damaged.
    """
    try:
        return pl.read_parquet(existing(path), columns=columns)
    except pl.exceptions.PolarsError as error:
        raise InputError(f"{path} is damaged: {str(error).splitlines()[0]}") from error


def read_json(path: Path) -> dict[str, Any]:
    """A mapping in JSON that a stage wrote.

    Raises:
        MissingInput: it is not there.
        InputError: it is damaged.
    """
    try:
        content = json.loads(existing(path).read_text(encoding="utf-8"))
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} is damaged: {error}") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} is damaged: no mapping")
    return content


def read_metrics(path: Path) -> pl.DataFrame:
    """The metrics of one cell, a row an output; a metric that is not defined is null.

    Raises:
        MissingInput: the file is not there.
        InputError: it is damaged, or of another version.
    """
    content = read_json(path)
    outputs = content.get("outputs")
    if not isinstance(outputs, dict):
        raise InputError(f"{path} has no outputs: it is of another version, evaluate again")
    counts = {name: content[name] for name in ("num_steps", "num_samples") if name in content}
    return as_judged(pl.DataFrame([{"output": output, **values, **counts} for output, values in outputs.items()]))


def as_judged(table: pl.DataFrame) -> pl.DataFrame:
    """A table of outputs with what a rule has made in the place of the fusion's own output, where one was used."""
    output = pl.col("output")
    runs = [name for name in ("method", "scheduler", "seed") if name in table.columns]
    replaces = (output == JUDGED).any()
    kept = table.filter(~((output == FUSED) & (replaces.over(runs) if runs else replaces)))
    return kept.with_columns(output.replace(JUDGED, FUSED))


def metrics_of(workspace: Workspace, cells: Iterable[Cell]) -> pl.DataFrame:
    """The metrics of several cells, a row a cell and output, with more where it was measured, else null.

    `equilibrium_deviation` is that of the cell, `linear_probe` the accuracy of a probe of the output's features,
    those of all modalities for the fusion.
    """
    return pl.concat([_of_run(workspace.metrics(cell), cell) for cell in cells])


def _of_run(path: Path, cell: Cell) -> pl.DataFrame:
    content = read_json(path)
    deviation = pl.lit(content.get("equilibrium_deviation"), dtype=pl.Float64)
    table, probes = read_metrics(path), content.get("linear_probe", {})
    probed = pl.Series([probes.get(output) for output in table["output"]], dtype=pl.Float64)
    return of_cell(table, cell).with_columns(equilibrium_deviation=deviation, linear_probe=probed)


def tables_of(place: Callable[[Cell], Path], name: str, cells: Iterable[Cell]) -> pl.DataFrame:
    """The tables of one name of several cells, one below the other.

    Args:
        place: the folder of a cell.
        name: of the table, without its suffix.
        cells: in order.
    """
    return pl.concat([of_cell(read_table(place(cell) / f"{name}.parquet"), cell) for cell in cells])


def kept_epoch(history: pl.DataFrame, keep: str) -> dict[str, Any]:
    """The row of the fused output at the epoch whose weights training kept.

    Args:
        history: of one run, a row an epoch and output: epoch, output, validation_accuracy and validation_loss.
        keep: `best`, the highest validation accuracy and of equal ones the lowest loss, then the first; or `last`.
    """
    rows = history.filter(history["output"] == FUSED).sort("epoch").to_dicts()
    if keep == "last":
        return rows[-1]
    return max(rows, key=lambda row: (row["validation_accuracy"], -row["validation_loss"]))


def remove_of_other_data(workspace: Workspace, cell: Cell) -> None:
    """Remove the metrics and predictions that are of other test pairs than those of a cell: of an earlier data set.

    Args:
        workspace: whose artifacts are looked through.
        cell: one that was evaluated on the present data.
    """
    tested = read_json(workspace.metrics(cell)).get("test")
    for path in workspace.all_metrics.glob("*-*-*.json"):
        if read_json(path).get("test") != tested:
            path.unlink()
    for folder in workspace.all_predictions.glob("*-*-*"):
        if not (workspace.all_metrics / f"{folder.name}.json").is_file():
            shutil.rmtree(folder)


def runtime_of(workspace: Workspace, cell: Cell) -> dict[str, Any]:
    """What a training ran on, see `Runtime.facts`."""
    return read_json(workspace.runtime(cell))


def of_cell(table: pl.DataFrame, cell: Cell) -> pl.DataFrame:
    """A table with the columns `method`, `scheduler` and `seed` beside its own."""
    return table.with_columns(**{name: pl.lit(value) for name, value in cell._asdict().items()})
