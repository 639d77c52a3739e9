"""The first lines of a difference: what changed, a line for each kind of artifact."""

import json
from collections.abc import Iterator
from math import isnan
from typing import Any

from bss.evaluation.diff.data import DataDifference
from bss.evaluation.diff.difference import Difference, Missing
from bss.evaluation.diff.scores import TOLERANCE, ScoreDifference
from bss.evaluation.page.words import ABSENT, interval, listed
from bss.types import FUSED
from bss.wording import counted

TOP = 0.1
"""The share of the most balanced pairs that the summary speaks of."""
MAX_NAMED = 3
"""Params, artifacts and files that are named; further ones are counted."""
NOTHING = "nothing changed"


def summary(difference: Difference) -> list[str]:
    """A line that names both snapshots, then a line for each kind that changed; `NOTHING` where none did."""
    nothing = f"{NOTHING} in what could be compared" if difference.missing else NOTHING
    return [
        f"{difference.before} -> {difference.after}",
        *(list(_changes(difference)) or [nothing]),
        *map(_missing, difference.missing),
    ]


def value(setting: Any) -> str:
    """A value of params.yaml as that file has it; a dash where it has none."""
    return ABSENT if setting is None else setting if isinstance(setting, str) else json.dumps(setting)


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


def _changes(difference: Difference) -> Iterator[str]:
    if difference.params:
        changes = [f"{param.key} {value(param.before)} -> {value(param.after)}" for param in difference.params]
        yield f"params: {_named(changes)}"
    if difference.data:
        yield f"data: {_data(difference.data)}"
    if difference.scores:
        yield f"scores: {'; '.join(map(_scores, difference.scores))}"
    if difference.sequences:
        yield f"sequences: {'; '.join(_sequences(difference))}"
    if difference.draws:
        far = number(max(one.distance for one in difference.draws.values()))
        cells = counted(len(difference.draws), "cell")
        yield f"draws: other ones in {cells}, distributions up to {far} apart"
    if difference.models:
        yield f"models: {'; '.join(_models(difference)) or _other_outputs(difference)}{_on_common(difference)}"
    elif difference.num_common == 0:
        yield "models: no test pair in common, so there is nothing to compare"
    for word, names in (("added", difference.added), ("removed", difference.removed)):
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
    if not one.num_common:
        return f"seed {one.seed} no pair in common"
    line = f"seed {one.seed} rank correlation {number(one.correlation)}"
    for overlap in one.overlaps:
        if overlap.share == TOP:
            line += f", {round((1 - overlap.most) * overlap.k)} of the {overlap.k} most balanced are others"
    if one.num_common < max(one.num_before, one.num_after):
        line += f" ({one.num_common:,} common pairs of {one.num_before:,} and {one.num_after:,})"
    return line


def _sequences(difference: Difference) -> Iterator[str]:
    """A part for each scheduler: the mean over its seeds and epochs."""
    for scheduler in dict.fromkeys(one.scheduler for one in difference.sequences):
        members = [one for one in difference.sequences if one.scheduler == scheduler]
        overlaps = [value for one in members for value in one.epochs["jaccard"]]
        if overlaps:
            moves = [value for one in members for value in one.epochs["displacement"] if not isnan(value)]
            mean = number(sum(moves) / len(moves)) if moves else "-"
            yield f"{scheduler} epochs overlap by {number(sum(overlaps) / len(overlaps))}, displaced by {mean}"
        else:
            distance = sum(one.draws.distance for one in members) / len(members)
            yield f"{scheduler} starts from probabilities {number(distance)} apart"


def _models(difference: Difference) -> Iterator[str]:
    """A part for each method and scheduler that fuses its modalities."""
    for one in difference.over_seeds:
        if one.output == FUSED:
            cells = [model for model in difference.models if model.cell[:2] == (one.method, one.scheduler)]
            flips = [model.flips[FUSED] for model in cells if FUSED in model.flips]
            # A single seed has no interval over seeds, but its test pairs have one.
            accuracy = flips[0].accuracy if one.accuracy.num_pairs == 1 and flips else one.accuracy
            line = f"{one.method}-{one.scheduler} {interval(accuracy.mean, accuracy.low, accuracy.high)}"
            fixed, broken = (sum(getattr(flip, f"num_{kind}") for flip in flips) for kind in ("fixed", "broken"))
            yield f"{line} points, {fixed} fixed, {broken} broken" if flips else f"{line} points"


def _on_common(difference: Difference) -> str:
    if difference.num_common in {None, difference.num_tested}:
        return ""
    return f" (on the {difference.num_common:,} test pairs that both have, of {difference.num_tested:,})"


def _other_outputs(difference: Difference) -> str:
    return f"other predictions or metrics in {counted(len(difference.models), 'cell')}"


def _missing(one: Missing) -> str:
    files = _named(list(one.places))
    return f"not compared, because {one.name} lacks it: {files}; `{one.remedy}` brings it"


def _named(names: list[str]) -> str:
    more = len(names) - MAX_NAMED
    return listed([*names[:MAX_NAMED], f"{more} more"]) if more > 0 else listed(names)
