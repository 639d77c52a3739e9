"""Published figures and ours side by side, for a terminal, for git and for programs."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isnan
from pathlib import Path
from typing import Any

from bss.evaluation.page.text import markdown, plain, wrapped
from bss.evaluation.page.words import ABSENT, percent, t_interval
from bss.evaluation.reproduction.reader import Effort, Reproduced, mean_interval
from bss.files import write_text
from bss.wording import counted

ON_TEST = "chosen on test*"
HEADER = ("row", "paper", ON_TEST, "by validation", "seeds")
NOTE_ON_TEST = (
    "* As published, chosen on test: of each seed the epoch that is best on the very pairs that it is judged on. It "
    "is too high, stands here only beside the paper's figure, which was chosen likewise, and nothing else reads it."
)


@dataclass(frozen=True, kw_only=True)
class Reproduction:
    """One data set's table, as far as it is."""

    data_set: str
    rows: Sequence[Reproduced]
    left_out: Mapping[str, str]
    """Row -> why it cannot be run on these data."""
    effort: Effort
    max_parallel: int
    confidence: float
    sources: Mapping[str, str]
    notes: Sequence[str]
    """What has to be known of the data."""
    command: str


def write_reproduction(given: Reproduction, folder: Path) -> None:
    """Write `table.txt`, `table.md` and `table.json`."""
    write_text(format_reproduction(given) + "\n", folder / "table.txt")
    write_text(_markdown(given) + "\n", folder / "table.md")
    content = {"effort": vars(given.effort), "rows": [_values(given, each) for each in given.rows]}
    content |= {"left_out": dict(given.left_out), "sources": dict(given.sources), "command": given.command}
    write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", folder / "table.json")


def format_reproduction(given: Reproduction) -> str:
    """Hours, table and notes in at most 80 columns."""
    cells = [_cells(given, each) for each in given.rows]
    return "\n\n".join([wrapped(head(given)), plain(HEADER, cells), "\n".join(map(wrapped, _notes(given)))])


def head(given: Reproduction) -> str:
    """How many trainings are done, the hours so far, and the hours to go."""
    effort = given.effort
    left = "unknown" if effort.seconds_left is None else f"about {effort.seconds_left / 3600:.1f}"
    return (
        f"{given.data_set}: {effort.num_done} of {counted(effort.num_cells, 'training')} done; hours of training so "
        f"far {effort.seconds / 3600:.1f}, to go {left} ({given.max_parallel} at a time)"
    )


def _markdown(given: Reproduction) -> str:
    title = f"# {given.data_set}: published figures and ours\n\n{head(given)}."
    table = markdown(HEADER, [_cells(given, each) for each in given.rows])
    return "\n\n".join([title, table, *_notes(given), f"```\n{given.command}\n```"])


def _cells(given: Reproduction, each: Reproduced) -> list[str]:
    figures = each.row.figures(given.data_set)
    paper, figure = next(iter(figures.items()), ("", None))
    shown = ABSENT if figure is None else f"{figure:.2f}{' (AUG)' if paper == 'aug' else ''}"
    ours = (_shown(values, given.confidence) for values in (each.chosen_on_test, each.by_validation))
    return [each.row.label, shown, *ours, str(len(each.by_validation))]


def _shown(values: Sequence[float], confidence: float) -> str:
    found = mean_interval(values, confidence)
    if found is None:
        return ABSENT
    ends = ABSENT if isnan(found.low) else f"{percent(found.low)}, {percent(found.high)}"
    return f"{percent(found.mean)} [{ends}]"


def _values(given: Reproduction, each: Reproduced) -> dict[str, Any]:
    protocols = {"chosen_on_test": each.chosen_on_test, "by_validation": each.by_validation}
    return {
        "key": each.row.key,
        "label": each.row.label,
        "method": each.row.grid_method,
        "scheduler": each.row.grid_scheduler,
        "published_percent": each.row.figures(given.data_set),
        **{name: _interval(values, given.confidence) for name, values in protocols.items()},
    }


def _interval(values: Sequence[float], confidence: float) -> dict[str, Any]:
    found = mean_interval(values, confidence)
    mean, low, high = (None, None, None) if found is None else (found.mean, found.low, found.high)
    ends = {name: None if end is None or isnan(end) else end for name, end in (("low", low), ("high", high))}
    return {"mean": mean, **ends, "accuracies": list(values)}


def _notes(given: Reproduction) -> list[str]:
    papers = {paper for each in given.rows for paper in each.row.figures(given.data_set)}
    notes = [
        f"Accuracy on test in %: the mean over the seeds and its {t_interval(given.confidence)}. "
        "“By validation”: the epoch is chosen on validation, and test is opened once.",
        NOTE_ON_TEST,
        *(f"Paper: {given.sources[paper]}." for paper in ("bss", "aug") if paper in papers),
        *(f"Left out: {label}: {reason}" for label, reason in given.left_out.items()),
    ]
    return [*notes, *given.notes]
