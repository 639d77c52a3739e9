"""The artifacts of a grid of runs, gathered into what the report is made of."""

import json
from collections.abc import Callable, Mapping
from itertools import product
from pathlib import Path

import polars as pl

from bss import paths
from bss.data.packed import MANIFEST, Meta
from bss.evaluation.judging.rule import JUDGED
from bss.evaluation.report.examples import examples
from bss.evaluation.report.inputs import ReportInputs
from bss.evaluation.report.provenance import commit, versions
from bss.files import checksum
from bss.params import ALONE, BASELINE, Params
from bss.types import FUSED, Split

Cell = tuple[str, str, int]
"""Method, scheduler, seed."""


def cells(params: Params) -> list[Cell]:
    """The cells of the grid, and each modality alone in the baseline's order."""
    grid = params.grid
    return [
        *product(grid.methods, grid.schedulers, grid.seeds),
        *product([ALONE], [BASELINE], grid.seeds),
    ]


def read_grid(params: Params, parameters: Mapping[str, object]) -> ReportInputs:
    """Everything that the stages before have left for the cells of the grid.

    Args:
        params: what was run.
        parameters: the same as a reader sees it in params.yaml.
    """
    meta, data = Meta.read(paths.PACKED), params.preprocess
    metrics, history = read_runs(params)
    manifest = pl.read_parquet(paths.PACKED / Split.TRAIN / MANIFEST)
    scores = pl.concat([_labelled(pl.read_parquet(paths.scores(seed)), seed=seed) for seed in params.grid.seeds])
    return ReportInputs(
        dataset=meta.dataset,
        notes=(*data.notes, *_skipped(meta)),
        classes=meta.classes,
        modalities=tuple(meta.modalities),
        num_pairs={split.value: number for split, number in meta.num_pairs.items()},
        metrics=metrics,
        history=history,
        predictions=as_judged(_tables(params, paths.predictions, "predictions")),
        scores=scores,
        pacing=pl.concat([_pacing(scheduler, params) for scheduler in params.grid.schedulers]),
        draws=_tables(params, paths.run, "draws"),
        seconds=_seconds(params),
        manifest=manifest,
        examples=examples(scores, manifest, data.modalities, data.locate(), params.report.num_examples),
        command="make run",
        parameters=parameters,
        versions=versions(),
        commit=commit(),
        baseline=BASELINE,
        confidence=params.report.confidence,
        rule=params.evaluate.rule,
    )


def read_runs(params: Params) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The metrics and the history of the cells of the grid alone."""
    return pl.concat([_metrics(cell) for cell in cells(params)]), _tables(params, paths.run, "history")


def _skipped(meta: Meta) -> list[str]:
    if not meta.num_skipped:
        return []
    return [f"{meta.num_skipped} rows could not be used and were left out; data/packed/skipped.parquet says why."]


def _metrics(cell: Cell) -> pl.DataFrame:
    """One row an output; a metric that is not defined is null."""
    found = json.loads(paths.metrics(*cell).read_text(encoding="utf-8"))
    counts = {name: found.pop(name) for name in ("num_steps", "num_samples")}
    rows = [{"output": output, **found[output], **counts} for output in found if output not in {"rule", "weights"}]
    return _of_cell(as_judged(pl.DataFrame(rows)), cell)


def as_judged(table: pl.DataFrame) -> pl.DataFrame:
    """A table of outputs with what a rule has made in the place of the fusion's own output, where one was used."""
    output = pl.col("output")
    runs = [name for name in ("method", "scheduler", "seed") if name in table.columns]
    replaces = (output == JUDGED).any()
    kept = table.filter(~((output == FUSED) & (replaces.over(runs) if runs else replaces)))
    return kept.with_columns(output.replace(JUDGED, FUSED))


def _tables(params: Params, folder: Callable[[str, str, int], Path], name: str) -> pl.DataFrame:
    """The tables of one name of all cells, one below the other."""
    return pl.concat([_of_cell(pl.read_parquet(folder(*cell) / f"{name}.parquet"), cell) for cell in cells(params)])


def _seconds(params: Params) -> pl.DataFrame:
    """How long each training took whose model was trained here; no row for one that came from a cache."""
    rows = [(*cell, seconds) for cell in cells(params) if (seconds := seconds_of(cell)) is not None]
    schema = {"method": pl.String, "scheduler": pl.String, "seed": pl.Int64, "seconds": pl.Float64}
    return pl.DataFrame(rows, schema=schema, orient="row")


def seconds_of(cell: Cell) -> float | None:
    """None where the time was not taken, or is of another model than that which is there now."""
    path = paths.seconds(*cell)
    if not path.is_file():
        return None
    timed = json.loads(path.read_text(encoding="utf-8"))
    is_of_this = timed["model"] == checksum(paths.run(*cell) / "model.safetensors")
    return float(timed["seconds"]) if is_of_this else None


def _pacing(scheduler: str, params: Params) -> pl.DataFrame:
    """The pacing of the epochs that are trained; it is the same for every seed."""
    path = paths.curriculum(scheduler, params.grid.seeds[0]) / "sequence.parquet"
    curve = pl.read_parquet(path, columns=["epoch", "fraction", "num_samples"])
    return _labelled(curve.head(params.train.epochs), scheduler=scheduler)


def _of_cell(table: pl.DataFrame, cell: Cell) -> pl.DataFrame:
    method, scheduler, seed = cell
    return _labelled(table, method=method, scheduler=scheduler, seed=seed)


def _labelled(table: pl.DataFrame, **labels: str | int) -> pl.DataFrame:
    return table.with_columns(**{name: pl.lit(value) for name, value in labels.items()})
