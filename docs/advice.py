"""Advice against what came of it: `python -m docs.advice NAME ...` writes its table into docs/advice.md.

Each NAME is a result of `bss compare order` whose workspaces are still there.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bss.errors import InputError
from bss.evaluation.advice.advise import STANDS_OUT, low_shares
from bss.evaluation.advice.warmed_up import WarmedUp, read_warmed_up
from bss.evaluation.findings.balance import LEAD
from bss.evaluation.findings.preferences import class_share
from bss.evaluation.page.text import markdown
from bss.evaluation.page.words import interval, percent
from bss.exits import exits
from bss.files import write_text
from bss.paths import HERE, Workspace
from docs.marked import filled

PAGE = Path(__file__).with_suffix(".md")
COMMAND = "python -m docs.advice"
ORDERS = ("matched, power 2.0", "matched-once", "learned, multinomial", "heuristic-full")


def written(text: str, names: Sequence[str]) -> str:
    """The page with its table made anew."""
    return filled(text, COMMAND, table(names))


def table(names: Sequence[str]) -> str:
    """A row a study: what the advice rests on, and the gain of each order on test, in points to random."""
    header = ["data", "stand out", "between classes", "leads", "advice", *ORDERS]
    return markdown(header, [[name.removeprefix("order-"), *_row(name)] for name in names])


def _row(name: str) -> list[str]:
    seen = _warmed_up(name)
    lows, classes = low_shares(seen.scores, seen.held_out), class_share(seen.scores, seen.manifest)
    low = sum(lows) / len(lows)
    leader, ratio = seen.lead
    facts = [f"{percent(low)} %", f"{percent(sum(classes) / len(classes))} %"]
    facts += [f"{leader} {ratio:.2f}" if ratio >= LEAD else "-", "matched" if low >= STANDS_OUT else "random"]
    gains = {row["label"]: row for row in _rows(name)}
    cells = [interval(*(gains[order][key] for key in ("difference", "low", "high"))) for order in ORDERS]
    return [*facts, *cells]


def _warmed_up(name: str) -> WarmedUp:
    folders = sorted((HERE.temporary / "compare" / name).glob("seed-*"))
    if not folders:
        raise InputError(f"{name}: its workspaces are gone; `bss compare order --on DATA` makes them")
    places = {int(folder.name.rpartition("-")[2]): Workspace(folder) for folder in folders}
    return read_warmed_up(dict(sorted(places.items())))


def _rows(name: str) -> list[Mapping[str, Any]]:
    path = HERE.studies / name / "table.json"
    if not path.is_file():
        raise InputError(f"{path} is missing; `bss compare order --on DATA` makes it")
    rows: list[Mapping[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    return rows


if __name__ == "__main__":
    with exits():
        if not sys.argv[1:]:
            raise InputError("name results of `bss compare order`, such as order-avdigits")
        write_text(written(PAGE.read_text(encoding="utf-8"), sys.argv[1:]), PAGE)
