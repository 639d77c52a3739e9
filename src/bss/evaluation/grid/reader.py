"""The artifacts of a grid of runs, gathered into what the report is made of."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
import polars as pl
from safetensors import safe_open

from bss.data.datasets.dataset import Dataset
from bss.data.kinds.kind import Kind
from bss.data.packed import MANIFEST, Meta, open_split
from bss.evaluation.advice.warmed_up import of_seed
from bss.evaluation.artifacts import as_judged, metrics_of, of_cell, read_table, runtime_of, tables_of
from bss.evaluation.grid.examples import TrainingPairs, drawings, examples
from bss.evaluation.grid.inputs import ReportInputs
from bss.evaluation.grid.provenance import commit, versions
from bss.evaluation.page.words import listed
from bss.files import existing
from bss.params import Params
from bss.paths import Cell, Workspace
from bss.types import BASELINE, Split
from bss.wording import counted

MODEL, FUSION = "model.safetensors", "fusion.weight"
"""The file of a model, and the name of the weights of a concatenation in it."""


def read_grid(params: Params, parameters: Mapping[str, object], workspace: Workspace) -> ReportInputs:
    """Everything that the stages before have left for the cells of the grid.

    Args:
        params: what was run.
        parameters: the same as a reader sees it in params.yaml.
        workspace: where the artifacts lie.
    """
    meta, data, cells = Meta.read(workspace.packed), params.preprocess, [*params.cells, *params.alone]
    pairs = read_training_pairs(data, workspace, meta)
    seeds = params.grid.seeds
    scores, held_out = (
        pl.concat([of_seed(place(seed), seed) for seed in seeds]) for place in (workspace.scores, workspace.held_out)
    )
    return ReportInputs(
        dataset=data.titled(Path(params.raw)),
        notes=(*data.notes, *_notes(meta)),
        classes=meta.classes,
        modalities=tuple(meta.modalities),
        num_pairs={split.value: number for split, number in meta.num_pairs.items()},
        metrics=metrics_of(workspace, cells),
        history=tables_of(workspace.run, "history", cells),
        predictions=as_judged(tables_of(workspace.predictions, "predictions", cells)),
        scores=scores,
        held_out=held_out,
        pacing=pl.concat([_pacing(workspace, scheduler, params) for scheduler in params.grid.schedulers]),
        draws=tables_of(workspace.run, "draws", cells),
        manifest=pairs.manifest,
        examples=examples(scores, pairs, params.report.num_examples),
        command="make run",
        parameters=parameters,
        versions=versions(),
        runtimes=_runtimes(workspace, cells),
        commit=commit(),
        baseline=BASELINE,
        confidence=params.report.confidence,
        rule=params.evaluate.rule,
        keep=params.train.keep,
        fusion_norms=pl.concat([of_cell(_fusion_norms(workspace, cell, meta), cell) for cell in params.cells]),
    )


def read_training_pairs(data: Dataset, workspace: Workspace, meta: Meta) -> TrainingPairs:
    """The pairs of the packed training split, as a person can see and hear them."""
    kinds, split = with_words(data.modalities, meta), open_split(workspace.packed, Split.TRAIN)
    manifest = read_table(workspace.packed / Split.TRAIN / MANIFEST)
    return TrainingPairs(manifest, kinds, data.locate(), drawings(split, kinds), data.damages)


def with_words(kinds: Mapping[str, Kind], meta: Meta) -> dict[str, Kind]:
    """The kinds, those of texts with the words that they learned from the training split."""
    learned = meta.modalities
    return {
        name: kind if learned[name].tokens is None else kind.recalled(learned[name].shape, learned[name].tokens)
        for name, kind in kinds.items()
    }


def _notes(meta: Meta) -> Iterator[str]:
    if meta.num_skipped:
        yield f"{meta.num_skipped} rows could not be used and were left out; data/packed/skipped.parquet says why."
    for split, names in (meta.absent_classes or {}).items():
        yield f"No {split} pair of {listed(names)}: nothing can be said of them there."


def _fusion_norms(workspace: Workspace, cell: Cell, meta: Meta) -> pl.DataFrame:
    """The Frobenius norm of the columns of each modality, where the fusion is a matrix over features side by side."""
    schema = {"output": pl.String, "norm": pl.Float64}
    with safe_open(existing(workspace.run(cell) / MODEL), "np") as weights:
        heads = [f"branches.{name}.head.weight" for name in meta.modalities]
        if not {FUSION, *heads} <= {*weights.keys()}:
            return pl.DataFrame(schema=schema)
        widths = [weights.get_slice(head).get_shape()[-1] for head in heads]
        matrix = weights.get_tensor(FUSION)
    if matrix.ndim != 2 or matrix.shape[1] != sum(widths):
        return pl.DataFrame(schema=schema)
    parts = np.split(matrix.astype(np.float64), np.cumsum(widths)[:-1], axis=1)
    return pl.DataFrame({"output": list(meta.modalities), "norm": [float(np.linalg.norm(part)) for part in parts]})


def _runtimes(workspace: Workspace, cells: Iterable[Cell]) -> tuple[str, ...]:
    """What the trainings ran on, each once, as in `cpu, float32, 1 thread`."""
    found = [runtime_of(workspace, cell) for cell in cells]
    words = {f"{facts['device']}, {facts['precision']}, {counted(facts['threads'], 'thread')}" for facts in found}
    return tuple(sorted(words))


def _pacing(workspace: Workspace, scheduler: str, params: Params) -> pl.DataFrame:
    """The pacing of the epochs that are trained; it is the same for every seed."""
    path = workspace.curriculum(scheduler, params.grid.seeds[0]) / "sequence.parquet"
    curve = read_table(path, columns=["epoch", "fraction", "num_samples"])
    return curve.head(params.train.epochs).with_columns(scheduler=pl.lit(scheduler))
