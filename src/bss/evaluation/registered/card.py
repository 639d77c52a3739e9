"""The best model of a grid, chosen on validation, and all that is needed to use it on new data."""

from collections.abc import Iterable, Mapping
from itertools import product
from math import isnan
from pathlib import Path
from typing import Any, Literal, Self

import polars as pl
from pydantic import ValidationError, model_validator

from bss.data.datasets._table import absence
from bss.data.datasets._table import read_table as read_user_table
from bss.data.datasets.manifest import Manifest
from bss.data.kinds.kind import KINDS
from bss.data.packed import Meta
from bss.data.packing.unpacked import Rows
from bss.encoders.encoder import ENCODERS
from bss.encoders.fusions.fusion import FUSIONS
from bss.errors import InputError, MissingInput
from bss.evaluation.artifacts import kept_epoch, read_json, read_table
from bss.evaluation.comparing.statistics import paired_difference
from bss.evaluation.registered.readme import readme
from bss.evaluation.registered.weights import WEIGHTS, write_weights
from bss.files import checksum, replaced, write_text
from bss.params import Params
from bss.parsing import faults
from bss.paths import HERE, Cell, Workspace
from bss.registry import Component, Registry, Strict
from bss.training.settings import RuntimeSettings

Spec = dict[str, Any]
"""A component as params.yaml would have it, with every field: its name, and its values."""
CARD, README = "model.json", "README.md"


class Figure(Strict):
    """A metric on the test split, in [0, 1]; None where it is not defined."""

    value: float | None
    """The metric of the registered model itself."""
    mean: float | None
    """The mean over the seeds of its method and scheduler."""
    low: float | None
    high: float | None
    """Student's interval of that mean, cut at 0 and 1; of one seed there is none."""


class Best(Strict):
    """A registered model."""

    method: str
    scheduler: str
    seed: int
    epoch: int
    """The epoch whose weights were kept, from 0."""
    validation_accuracy: float
    """Accuracy of the fusion at that epoch, in [0, 1]; the model was chosen by it."""
    seeds: list[int]
    """The seeds that the means of `test` are over."""
    test: dict[str, dict[str, Figure]]
    """Output -> metric -> its values on the test split."""
    rule: Literal["fused", "sum", "sum_all", "weighted"]
    weights: dict[str, float] | None
    """Modality -> its weight in [0, 1], where the rule is `weighted`."""
    training: Spec
    curriculum: Spec
    encoders: dict[str, Spec]
    fusion: Spec
    runtime: RuntimeSettings
    kinds: dict[str, Spec]
    """Modality -> how a raw value of it is read."""
    columns: dict[str, str | list[str]]
    """Modality or role -> where it stands in a table, if that is another name."""
    allow: list[str]
    """Faults that a value may have, see the data set's field `allow`."""
    meta: Meta
    sha256: str
    """Checksum of the file of the weights."""

    @model_validator(mode="after")
    def _parts_are_there(self) -> Self:
        """Look up now what is restored later: a folder of another version is refused before any row is read."""
        for modality, about in self.meta.modalities.items():
            if modality not in self.kinds or modality not in self.encoders:
                raise InputError(f"modality '{modality}' has no kind or no encoder")
            restored(ENCODERS, self.encoders[modality])
            if (shape := restored(KINDS, self.kinds[modality]).shape) != about.shape:
                raise InputError(f"kinds.{modality}: the shape {shape} is not that of training, {about.shape}")
        restored(FUSIONS, self.fusion)
        return self

    @classmethod
    def read(cls, folder: Path) -> "Best":
        """The description of the model in a folder.

        Raises:
            MissingInput: the folder holds no model.
            InputError: it is no folder, or its description is damaged or of another version.
        """
        if folder.is_file():
            raise InputError(f"{folder} is a file; give the folder of the model, {folder.parent}")
        path = folder / CARD
        if missing := [name for name in (CARD, WEIGHTS) if not (folder / name).is_file()]:
            raise MissingInput(
                f"{folder} holds no registered model: {missing[0]} is missing (`register` writes {HERE.best})"
            )
        try:
            return cls.model_validate_json(path.read_text(encoding="utf-8"))
        except (ValidationError, UnicodeDecodeError) as error:
            message = "; ".join(faults(error)) if isinstance(error, ValidationError) else str(error)
            raise InputError(f"{path} is damaged, or of another version; register again: {message:.200}") from None

    def rows(self, manifest: Path) -> Rows:
        """A table as the model reads it: of any form that `manifest` reads, a row a sample and a column a modality.

        Raises:
            MissingInput: there is no such file.
            InputError: a row or a column cannot be used; the message names it.
        """
        if reason := absence(manifest):
            raise MissingInput(reason)
        kinds = {name: restored(KINDS, described) for name, described in self.kinds.items()}
        return Rows(read_user_table(manifest), manifest, self.meta, kinds, self.columns, self.allow)


def probability_columns(outputs: Iterable[str], classes: Iterable[str]) -> dict[tuple[str, str], str]:
    """(Output, class) -> the column of a table that has its probability, `OUTPUT_CLASS`.

    Raises:
        InputError: two have one name.
    """
    found: dict[str, tuple[str, str]] = {}
    for cell in product(outputs, classes):
        if (other := found.setdefault(column := "_".join(cell), cell)) != cell:
            raise InputError(
                f"the column '{column}' would stand for the class '{other[1]}' of '{other[0]}' and the class "
                f"'{cell[1]}' of '{cell[0]}': --json keeps them apart"
            )
    return {cell: column for column, cell in found.items()}


def register(params: Params, workspace: Workspace) -> Best:
    """Register the best model of the grid of `params`: its weights, its description, and its card for people.

    Raises:
        MissingInput: a cell of the grid was not trained or not judged.
    """
    histories = {cell: read_table(workspace.run(cell) / "history.parquet") for cell in params.cells}
    cell, kept = best_cell(histories, params.train.keep)
    out = workspace.best
    with replaced(out / WEIGHTS) as temporary:
        write_weights(params, cell, workspace, temporary)
        best = _described(params, cell, kept, workspace, checksum(temporary))
    write_text(best.model_dump_json(indent=2) + "\n", out / CARD)
    write_text(readme(best), out / README)
    return best


def best_cell(histories: Mapping[Cell, pl.DataFrame], keep: str) -> tuple[Cell, dict[str, Any]]:
    """The cell whose fusion is right most often on validation, and the row of its history that was kept.

    Of several that are as accurate it is the first.

    Args:
        histories: cell -> its history; the order is that of the grid.
        keep: which epoch was kept, as `train.keep` says.
    """
    kept = {cell: kept_epoch(history, keep) for cell, history in histories.items()}
    chosen = max(kept, key=lambda cell: float(kept[cell]["validation_accuracy"]))
    return chosen, kept[chosen]


def figures(judged: Mapping[int, Mapping[str, Any]], seed: int, confidence: float) -> dict[str, dict[str, Figure]]:
    """Output -> metric -> what it is for one seed, and its mean over all with the interval.

    Args:
        judged: seed -> what `evaluate` wrote for it.
        seed: the one.
        confidence: of the interval, in (0, 1).
    """
    return {
        output: {
            name: _figure(value, [of_seed["outputs"][output][name] for of_seed in judged.values()], confidence)
            for name, value in metrics.items()
        }
        for output, metrics in judged[seed]["outputs"].items()
    }


def _figure(value: float | None, values: list[float | None], confidence: float) -> Figure:
    known = [number for number in values if number is not None]
    if len(known) < len(values):
        return Figure(value=value, mean=None, low=None, high=None)
    over_seeds = paired_difference(known, [0.0] * len(known), confidence)
    low, high = (None if isnan(end) else min(max(end, 0.0), 1.0) for end in (over_seeds.low, over_seeds.high))
    return Figure(value=value, mean=over_seeds.mean, low=low, high=high)


def _described(params: Params, cell: Cell, kept: Mapping[str, Any], workspace: Workspace, sha256: str) -> Best:
    method, scheduler, seed = cell
    data, meta = params.preprocess, Meta.read(workspace.packed)
    judged = {other: read_json(workspace.metrics(cell._replace(seed=other))) for other in params.grid.seeds}
    packed = meta.modalities
    kinds = {name: kind.recalled(packed[name].shape, packed[name].tokens) for name, kind in data.modalities.items()}
    encoders = {name: params.encoders.get(name) or ENCODERS.build(kind.encoder) for name, kind in kinds.items()}
    return Best(
        method=method,
        scheduler=scheduler,
        seed=seed,
        epoch=kept["epoch"],
        validation_accuracy=kept["validation_accuracy"],
        seeds=params.grid.seeds,
        test=figures(judged, seed, params.report.confidence),
        rule=params.evaluate.rule,
        weights=judged[seed].get("weights"),
        training=spec(params.methods[method]),
        curriculum=spec(params.curriculum.schedulers[scheduler]),
        encoders={name: spec(encoder) for name, encoder in encoders.items()},
        fusion=spec(params.fusion),
        runtime=params.runtime,
        kinds={name: spec(kind) for name, kind in kinds.items()},
        columns=data.found_columns if isinstance(data, Manifest) else {},
        allow=list(data.allow),
        meta=meta,
        sha256=sha256,
    )


def spec(component: Component) -> Spec:
    """A component with every field, as plain values."""
    plain = component.model_dump(mode="json")
    nested = {key: spec(value) for key, value in component if isinstance(value, Component)}
    return {"name": component.name, **plain, **nested}


def restored(registry: Registry[Any], described: Spec) -> Any:
    """The component that `spec` has described.

    Raises:
        InputError: there is no such component, or it has other fields.
    """
    if "name" not in described:
        raise InputError(f"a {registry.kind} has no name: {described}")
    fields = {key: value for key, value in described.items() if key != "name"}
    return registry[described["name"]].model_validate(fields, strict=False)  # JSON has lists in the place of tuples
