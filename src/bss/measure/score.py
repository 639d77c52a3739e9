"""The balance score: how balanced the modalities are in each training pair."""

import math
from collections.abc import Iterable, Mapping, Sequence

import polars as pl
import torch
from torch import Tensor

from bss.measure.criteria.criterion import CRITERIA, PUBLISHED, distinct
from bss.measure.evidence import Evidence
from bss.measure.ranks import AllRanks, Shard

Extents = Mapping[str, tuple[float, float]]
"""Criterion -> its smallest and its largest value over the training set."""
NONE = (math.inf, -math.inf)
"""The extent of no value."""


def balance_score(
    evidence: Evidence | Iterable[Evidence], criteria: Sequence[str] = PUBLISHED, *, shard: Shard = None
) -> Tensor:
    """Balance score of each sample, shape (N,), float64, in [-1, 1]; larger is more balanced.

    The mean of the normalised criteria of direction +1, which speak for balance, less the mean of those of direction
    -1; criteria of one direction alone lie in [0, 1] or in [-1, 0]. For the published pair it is
    minmax(prediction similarity) - minmax(training loss). Source: BSS (IJCAI 2025).

    Args:
        evidence: of all samples, or of some at a time, of which the criteria alone are kept.
        criteria: names of those that the score is made of.
        shard: `local` where each rank of the default process group has the evidence of its own samples alone. Its
            scores are those that one process with all samples would give them: normalised over all ranks, which
            have to call this together.

    Raises:
        ValueError: no criterion, an unknown one, or one twice; no evidence; `local` without a process group.
    """
    if isinstance(criteria, str):
        raise ValueError(f"criteria is '{criteria}', expected names in a list: ['{criteria}']")
    names, pieces = distinct(tuple(criteria)), [evidence] if isinstance(evidence, Evidence) else evidence
    measured = [[CRITERIA[name](piece) for name in names] for piece in pieces]
    if not measured:
        raise ValueError("the evidence has no part, expected at least one (of no sample, where a rank has none)")
    values = {name: torch.cat(parts) for name, parts in zip(names, zip(*measured, strict=True), strict=True)}
    return combined(values, extents(values, AllRanks.of_group()) if is_local(shard) else None)


def is_local(shard: object) -> bool:
    """Whether each rank holds its own samples alone.

    Raises:
        ValueError: the value is neither "local" nor None.
    """
    if shard not in {"local", None}:
        raise ValueError(f"shard is {shard!r}, expected 'local' or None")
    return shard == "local"


def combined(values: Mapping[str, Tensor], over: Extents | None = None) -> Tensor:
    """The balance score (N,), float64, from the values of its criteria, criterion -> (N,); `over` as in `minmax`."""
    total = torch.zeros_like(next(iter(values.values())), dtype=torch.float64)
    for direction in (+1, -1):
        parts = [
            minmax(of_all, over[name] if over else None)
            for name, of_all in values.items()
            if CRITERIA[name].direction == direction
        ]
        total += direction * torch.stack(parts).mean(dim=0) if parts else 0
    return total


def score_table(
    evidence: Evidence,
    criteria: Sequence[str] = PUBLISHED,
    others: Sequence[str] = (),
    *,
    shard: Shard = None,
    over: Extents | None = None,
) -> pl.DataFrame:
    """One row a sample: label, each criterion raw (`NAME`) and with its sign (`NAME_normalised`), balance_score.

    The `others` are measured, but not part of the balance score. With `shard` local, the rows of this rank's own
    samples, as in `balance_score`. Held-out samples are brought into the scale of training by `over`, the extent of
    each criterion there, and may lie outside of it.
    """
    columns = {"label": evidence.labels.numpy()}
    values = {name: CRITERIA[name](evidence) for name in dict.fromkeys([*criteria, *others])}
    if is_local(shard):
        over = extents(values, AllRanks.of_group())
    for name, of_all in values.items():
        columns[name] = of_all.double().numpy()
        columns[f"{name}_normalised"] = combined({name: of_all}, over).numpy()
    scores = combined({name: values[name] for name in criteria}, over)
    return pl.DataFrame({**columns, "balance_score": scores.numpy()})


def extents(values: Mapping[str, Tensor], ranks: AllRanks) -> Extents:
    """The extent of each criterion over the samples of all ranks, from the values of this rank's own."""
    own = {
        name: (float(of_own.min()), float(of_own.max())) if len(of_own) else NONE for name, of_own in values.items()
    }
    return {name: ranks.extent(*extent) for name, extent in own.items()}


def minmax(values: Tensor, over: tuple[float, float] | None = None) -> Tensor:
    """Values moved and scaled onto [0, 1], float64; all 0 where they are all the same.

    `over` is the smallest and the largest of all values, where those given are some of them.
    """
    values = values.double()
    if not len(values):
        return values
    low, high = (values.min(), values.max()) if over is None else over
    return torch.zeros_like(values) if high == low else (values - low) / (high - low)
