"""Everything that two snapshots differ in."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import polars as pl

from bss.data.packed import MANIFEST
from bss.evaluation.diff.data import DataDifference, data_difference, same_bytes
from bss.evaluation.diff.models import ModelDifference, SeedDifference, model_difference, seed_differences
from bss.evaluation.diff.params import ParamDifference, param_differences
from bss.evaluation.diff.scores import ScoreDifference, keyed, score_difference
from bss.evaluation.diff.sequences import DrawDifference, SequenceDifference, draw_difference, sequence_difference
from bss.evaluation.diff.snapshot import Snapshot
from bss.paths import HERE, Cell
from bss.types import Split

K = TypeVar("K")
V = TypeVar("V")
Frames: TypeAlias = Mapping[K, pl.DataFrame]


@dataclass(frozen=True)
class Missing:
    """Files that belong to a snapshot and are not there, so that they could not be compared."""

    name: str
    """Name of the snapshot."""
    places: tuple[str, ...]
    remedy: str
    """The command that fetches them."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Everything that changed between two snapshots, and nothing else."""

    before: str
    """The name of the first snapshot."""
    after: str
    params: tuple[ParamDifference, ...]
    data: DataDifference | None
    """None where nothing changed, or where one side has no manifest."""
    scores: tuple[ScoreDifference, ...]
    sequences: tuple[SequenceDifference, ...]
    draws: Mapping[Cell, DrawDifference]
    """Cell -> how often its training has drawn each pair, before and after."""
    num_common: int | None
    """Test pairs that both have; None where a manifest of them is not there. Models are compared on these alone."""
    num_tested: int
    """The larger number of test pairs of the two."""
    models: tuple[ModelDifference, ...]
    """None where no test pair is common."""
    over_seeds: tuple[SeedDifference, ...]
    """Differences over the seeds, for the methods and schedulers of `models`."""
    added: tuple[str, ...]
    """Scores, sequences, draws, metrics and predictions that only the second has: `metrics joint-random-0`."""
    removed: tuple[str, ...]
    """The same kinds of artifact that only the first has."""
    missing: tuple[Missing, ...]

    @property
    def changed(self) -> bool:
        """Whether anything changed."""
        parts = (self.params, self.data, self.scores, self.sequences, self.draws, self.models)
        return any((*parts, self.added, self.removed, self.num_common == 0))


def difference(before: Snapshot, after: Snapshot) -> Difference:
    """Compare two snapshots. What one of them lacks, because it was not fetched, counts as neither added nor removed.

    Raises:
        ValueError: a file is damaged.
    """
    data = data_difference(before, after) if len(before.manifest) and len(after.manifest) else None
    num_common, num_tested = _test_pairs(before, after)
    models = () if num_common == 0 else _models(before, after)
    groups = {model.cell[:2] for model in models}
    scores = (score_difference(seed, *tables) for seed, tables in _differing(before.scores, after.scores))
    draws = {cell: draw_difference(*tables) for cell, tables in _differing(before.draws, after.draws)}
    return Difference(
        before=before.name,
        after=after.name,
        params=param_differences(before.params, after.params) if before.params and after.params else (),
        data=data if data and data.changed else None,
        scores=tuple(one for one in scores if one.changed),
        sequences=_sequences(before, after),
        draws={cell: one for cell, one in draws.items() if one.changed},
        num_common=num_common,
        num_tested=num_tested,
        models=models,
        over_seeds=seed_differences(
            (_of(before.metrics, groups), _of(after.metrics, groups)),
            None if num_common in {None, num_tested} else (before.predictions, after.predictions),
        ),
        added=tuple(_only(after, before)),
        removed=tuple(_only(before, after)),
        missing=tuple(Missing(side.name, side.missing, side.remedy) for side in (before, after) if side.missing),
    )


def _test_pairs(before: Snapshot, after: Snapshot) -> tuple[int | None, int]:
    """The numbers of test pairs: of both, or None where that is unknown; and of the side that has more."""
    tests = [keyed(side.manifest.filter(split=Split.TEST.value)) for side in (before, after)]
    num_tested = max(len(table) for table in tests)
    if not all(len(table) for table in tests):
        return None, num_tested
    if before.meta and after.meta and before.meta.dataset != after.meta.dataset:
        return 0, num_tested
    return len(tests[0].join(tests[1], on=["id", "copy"])), num_tested


def _common(before: Mapping[K, V], after: Mapping[K, V]) -> list[tuple[K, tuple[V, V]]]:
    return [(key, (before[key], after[key])) for key in before if key in after]


def _differing(before: Frames[K], after: Frames[K]) -> list[tuple[K, tuple[pl.DataFrame, pl.DataFrame]]]:
    """The tables of both that do not hold the same."""
    return [(key, tables) for key, tables in _common(before, after) if not tables[0].equals(tables[1])]


def _of(metrics: Frames[Cell], groups: set[tuple[str, str]]) -> dict[Cell, pl.DataFrame]:
    return {cell: table for cell, table in metrics.items() if cell[:2] in groups}


def _sequences(before: Snapshot, after: Snapshot) -> tuple[SequenceDifference, ...]:
    compared = []
    for (scheduler, seed), folders in _common(before.plans, after.plans):
        if not all(
            same_bytes(*(folder / name for folder in folders)) for name in ("order.parquet", "sequence.parquet")
        ):
            compared.append(sequence_difference(scheduler, seed, *folders))
    return tuple(one for one in compared if one.changed)


def _models(before: Snapshot, after: Snapshot) -> tuple[ModelDifference, ...]:
    metrics = _common(before.metrics, after.metrics)
    predictions = dict(_common(before.predictions, after.predictions))
    differing = [*_differing(before.metrics, after.metrics), *_differing(before.predictions, after.predictions)]
    stale = {cell for cell, _ in differing}
    compared = [model_difference(cell, tables, predictions.get(cell)) for cell, tables in metrics if cell in stale]
    return tuple(one for one in compared if one.changed)


def _only(one: Snapshot, other: Snapshot) -> Iterator[str]:
    """The artifacts of one snapshot that the other lacks."""
    if one.params is not None and other.params is None:
        yield str(HERE.params)
    if len(one.manifest) and not len(other.manifest) and not other.lacks(HERE.packed / Split.TRAIN / MANIFEST):
        yield str(HERE.packed)
    kinds: Sequence[tuple[str, Callable[[Snapshot], Mapping[Any, Any]], Callable[..., Path]]] = (
        ("scores", lambda side: {(seed,): None for seed in side.scores}, HERE.scores),
        ("sequences", lambda side: side.plans, HERE.curriculum),
        ("draws", lambda side: side.draws, lambda *cell: HERE.run(Cell(*cell)) / "draws.parquet"),
        ("metrics", lambda side: side.metrics, lambda *cell: HERE.metrics(Cell(*cell))),
        ("predictions", lambda side: side.predictions, lambda *cell: HERE.predictions(Cell(*cell))),
    )
    for kind, having, place in kinds:
        for key in having(one):
            if key not in having(other) and not other.lacks(place(*key)):
                yield f"{kind} {'-'.join(map(str, key))}"
