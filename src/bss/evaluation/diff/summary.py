"""The first lines of a difference: what changed, a line for each kind of artifact."""

import json
from collections.abc import Iterator
from math import isnan
from typing import Any

from bss.evaluation.diff.data import DataDifference
from bss.evaluation.diff.difference import Difference, Missing
from bss.evaluation.diff.scores import TOLERANCE, ScoreDifference
from bss.evaluation.page.words import ABSENT, counted, interval, listed
from bss.types import FUSED

TOP = 0.1
"""The share of the most balanced pairs that the summary speaks of."""
MAX_NAMED = 3
"""Params, artifacts and files that are named; further ones are counted."""
NOTHING = "nothing changed"


def summary(found: Difference) -> list[str]:
    """A line that names both snapshots, then a line for each kind that changed; `NOTHING` where none did."""
    nothing = f"{NOTHING} in what could be compared" if found.missing else NOTHING
    return [f"{found.before} -> {found.after}", *(list(_changes(found)) or [nothing]), *map(_missing, found.missing)]


def value(told: Any) -> str:
    """A value of params.yaml as that file has it; a dash where it has none."""
    return ABSENT if told is None else told if isinstance(told, str) else json.dumps(told)


def number(value: float, places: int = 3) -> str:
    """A number with so many decimals; a dash where it is not defined, and no 0 or 1 that is none."""
    if isnan(value):
        return "-"
    least = 10.0**-places
    if TOLERANCE < value < least / 2:
        return f"<{least:.{places}f}"
    if 1 - least / 2 < value < 1 - TOLERANCE:
        return f">{1 - least:.{places}f}"
    return f"{value:.{places}f}"


def _changes(found: Difference) -> Iterator[str]:
    if found.params:
        yield f"params: {_named([f'{one.key} {value(one.before)} -> {value(one.after)}' for one in found.params])}"
    if found.data:
        yield f"data: {_data(found.data)}"
    if found.scores:
        yield f"scores: {'; '.join(map(_scores, found.scores))}"
    if found.sequences:
        yield f"sequences: {'; '.join(_sequences(found))}"
    if found.draws:
        far = max(one.distance for one in found.draws.values())
        yield f"draws: other ones in {counted(len(found.draws), 'cell')}, distributions up to {number(far)} apart"
    if found.models:
        yield f"models: {'; '.join(_models(found)) or _other_outputs(found)}"
    for word, names in (("added", found.added), ("removed", found.removed)):
        if names:
            yield f"{word}: {_named(list(names))}"


def _data(data: DataDifference) -> str:
    tables = {"added": data.added, "removed": data.removed, "moved to another split": data.moved}
    tables["relabelled"] = data.relabelled
    parts = [f"{len(table):,} {word}" for word, table in tables.items() if len(table)]
    for name, rows in data.content.group_by("modality", maintain_order=True):
        parts.append(f"{len(rows):,} with other {name[0]}")
    return ", ".join([*parts, *(f"{name}: {old} -> {new}" for name, old, new in data.modalities)])


def _scores(one: ScoreDifference) -> str:
    told = f"seed {one.seed} rank correlation {number(one.correlation)}"
    for overlap in one.overlaps:
        if overlap.share == TOP:
            told += f", {round((1 - overlap.most) * overlap.k)} of the {overlap.k} most balanced are others"
    if one.num_common < max(one.num_before, one.num_after):
        told += f" ({one.num_common:,} common pairs of {one.num_before:,} and {one.num_after:,})"
    return told


def _sequences(found: Difference) -> Iterator[str]:
    """A part for each scheduler: the mean over its seeds and epochs."""
    for scheduler in dict.fromkeys(one.scheduler for one in found.sequences):
        members = [one for one in found.sequences if one.scheduler == scheduler]
        overlaps = [value for one in members for value in one.epochs["jaccard"]]
        if overlaps:
            moves = [value for one in members for value in one.epochs["displacement"] if not isnan(value)]
            mean = number(sum(moves) / len(moves)) if moves else "-"
            yield f"{scheduler} epochs overlap by {number(sum(overlaps) / len(overlaps))}, displaced by {mean}"
        else:
            distance = sum(one.draws.distance for one in members) / len(members)
            yield f"{scheduler} starts from probabilities {number(distance)} apart"


def _models(found: Difference) -> Iterator[str]:
    """A part for each method and scheduler that fuses its modalities."""
    for one in found.over_seeds:
        if one.output == FUSED:
            flips = [model.flips[FUSED] for model in found.models if model.cell[:2] == (one.method, one.scheduler)
                     and FUSED in model.flips]  # fmt: skip
            # A single seed has no interval over seeds, but its test pairs have one.
            accuracy = flips[0].accuracy if one.accuracy.num_pairs == 1 and flips else one.accuracy
            told = f"{one.method}-{one.scheduler} {interval(accuracy.mean, accuracy.low, accuracy.high)}"
            fixed, broken = (sum(getattr(flip, f"num_{kind}") for flip in flips) for kind in ("fixed", "broken"))
            yield f"{told} points, {fixed} fixed, {broken} broken" if flips else f"{told} points"


def _other_outputs(found: Difference) -> str:
    return f"other predictions or metrics in {counted(len(found.models), 'cell')}"


def _missing(one: Missing) -> str:
    files = _named(list(one.places))
    return f"not compared, because {one.name} lacks it: {files}; `{one.remedy}` brings it"


def _named(names: list[str]) -> str:
    more = len(names) - MAX_NAMED
    return listed([*names[:MAX_NAMED], f"{more} more"]) if more > 0 else listed(names)
