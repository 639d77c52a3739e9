"""The rows of a paper on one data set, ready to run: its published preset, and what its table compares."""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bss.errors import InputError, MissingInput
from bss.evaluation.reproduction.published import Published, Row, read_published
from bss.params import Params
from bss.parsing import checked, read_mapping, setting
from bss.paths import HERE, PARAMS
from bss.preset import apply
from bss.registry import UnknownName, lookup
from bss.training.methods.method import METHODS
from bss.types import BASELINE
from flows.studies.study import FOLDER, Raw, overlaid
from flows.studies.study_run import Repeat, Repeated

TABLES = FOLDER / "published/tables.yaml"
AS_PUBLISHED = {"fusion": "concat", "augment": {}, "train.keep": "best", "train.class_weights": "none"}
"""What the presets leave as params.yaml has it, and the papers have so."""
CHANGES_NOTHING = "flow."


@dataclass(frozen=True, kw_only=True)
class ReproduceRun(Repeated):
    """All that a reproduction needs."""

    rows: tuple[Row, ...]
    left_out: Mapping[str, str]
    """Row -> why it cannot be run on these data."""
    sources: Mapping[str, str]

    @property
    def page(self) -> Path:
        """The table, as Markdown."""
        return self.results / "table.md"

    @property
    def repeats(self) -> list[Repeat]:
        """Every seed."""
        return [Repeat(seed) for seed in self.params.grid.seeds]

    def of(self, repeat: Repeat) -> Raw:
        """The content of params.yaml for one repeat."""
        return overlaid(self.raw, {"grid.seeds": [repeat.seed], "by_test.seeds": [repeat.seed]})

    def targets(self, repeat: Repeat) -> list[str]:
        """Both judgements of each row's cell."""
        judges = [
            f"{verb}{'-alone' if row.is_alone else ''}@{row.cell(repeat.seed)}"
            for row in self.rows
            for verb in ("evaluate-by-test", "evaluate")
        ]
        return list(dict.fromkeys(judges))


def composed(
    data_set: str,
    *,
    command: str,
    name: str | None = None,
    seeds: int = 3,
    rows: str | None = None,
    settings: Sequence[str] = (),
) -> ReproduceRun:
    """The published preset of a data set on params.yaml, then the settings, with the rows that suit the data.

    Args:
        data_set: one with published figures, or its short name.
        command: what repeats it.
        name: of the results; by default that of the data set, and of the settings where there are any.
        seeds: how many.
        rows: their keys, with commas between them; all by default.
        settings: texts `key=value`.

    Raises:
        MissingInput: raw data or weights are not there; the message says what to fetch from whom, and where it goes.
        InputError: what is not there, or does not fit together.
    """
    published = read_published(TABLES)
    data_set = published.short.get(data_set, data_set)
    if data_set not in published.data_sets:
        raise UnknownName("data set with published figures", data_set, published.data_sets)
    values = dict(map(setting, settings))
    raw = overlaid(overlaid(_preset(data_set), AS_PUBLISHED, may_add=True), values, may_add=True)
    raw["methods"] = METHODS.every(raw.get("methods", {}))
    raw["grid"] = {"seeds": list(range(seeds)), "methods": ["joint"], "schedulers": [BASELINE]}
    params = checked(raw, Params, HERE.params)
    _expect_files(params, raw, published)
    wanted = [_laid(row, raw, data_set) for row in _chosen(published, rows) if _is_of(row, params, data_set)]
    left_out = {row.label: reason for row in wanted if (reason := _obstacle(row, raw))}
    kept = [row for row in wanted if row.label not in left_out]
    if not kept:
        raise InputError(f"--rows {rows}: none of them can be run on {data_set}: {'; '.join(left_out.values())}")
    raw["grid"] |= {
        "methods": _distinct(["joint"], [row.grid_method for row in kept if not row.is_alone]),
        "schedulers": _distinct([BASELINE], [row.grid_scheduler for row in kept]),
    }
    return ReproduceRun(
        name=name or "-".join(["reproduce", data_set, *_digest(values)]),
        params=checked(raw, Params, HERE.params),
        raw=raw,
        about=(),
        command=command,
        rows=tuple(kept),
        left_out=left_out,
        sources=published.sources,
    )


def _preset(data_set: str) -> Raw:
    """The content of params.yaml after `bss preset DATA-published`."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / PARAMS
        shutil.copyfile(HERE.params, path)
        apply(f"{data_set}-published", path)
        return read_mapping(path)


def _expect_files(params: Params, raw: Raw, published: Published) -> None:
    """Expect raw data and weights to be there."""
    missing = []
    try:
        params.preprocess.locate()
    except MissingInput as error:
        missing.append(str(error))
    paths = {Path(spec["weights"]) for spec in raw["encoders"].values() if spec.get("weights", "none") != "none"}
    for path in sorted(paths):
        if not path.is_file():
            origin = published.weights.get(path.name, "where the encoder's authors keep it")
            missing.append(f"{path} is missing, weights of an encoder. They come from {origin}")
    if missing:
        raise MissingInput("\n".join(missing))


def _chosen(published: Published, rows: str | None) -> list[Row]:
    known = {row.key: row for row in published.rows}
    keys = list(known) if rows is None else [key.strip() for key in rows.split(",")]
    return [lookup("row", key, known) for key in dict.fromkeys(keys)]


def _is_of(row: Row, params: Params, data_set: str) -> bool:
    """Whether the data have the modality of a row, where it is one by itself."""
    return not row.is_alone or row.output in params.preprocess.modalities


def _laid(row: Row, raw: Raw, data_set: str) -> Row:
    """The row, its method and its scheduler being in the parameters under the names that it has for them."""
    fields = row.fields.get(data_set, {})
    released = {"variant": "released"}
    methods, schedulers = raw["methods"], raw["curriculum"]["schedulers"]
    method = lookup("training method", row.method, methods)
    scheduler = lookup("scheduler", row.scheduler, schedulers)
    if fields or row.released == "method":
        methods[row.grid_method] = {**method, **fields, **(released if row.released == "method" else {})}
    if row.released == "scheduler":
        schedulers[row.grid_scheduler] = {**scheduler, **released}
    return row


def _obstacle(row: Row, raw: Raw) -> str | None:
    """Why a row cannot be run, in one sentence; None where it can."""
    if row.is_alone:
        return None
    grid: dict[str, Any] = raw["grid"] | {"methods": [row.grid_method]}
    try:
        checked(raw | {"grid": grid}, Params, HERE.params)
    except InputError as error:
        return " ".join(str(error).split())
    return None


def _distinct(*groups: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(name for group in groups for name in group))


def _digest(values: Mapping[str, Any]) -> list[str]:
    """A short name of the values that change results, so that those of others are not taken for theirs."""
    kept = {key: value for key, value in values.items() if not key.startswith(CHANGES_NOTHING)}
    return [sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:6]] if kept else []
