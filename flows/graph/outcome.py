"""Artifacts of a successful run at the server: its table, the change against the last run, a link to the report."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
from prefect.artifacts import create_link_artifact, create_markdown_artifact

from bss.evaluation.page.text import markdown
from bss.files import write_json
from bss.params import load
from bss.paths import HERE
from flows.graph.terminal import tell
from flows.revisions.change import Accuracies, change_table

REPORTS_URL = "BSS_REPORTS_URL"
"""The variable with the address at which a server shows the folder of the reports, without a slash at the end."""
HEADING = "### Change against the last successful run"
HEADER = ("row", "before %", "accuracy %", "change in points", "seeds")
LAST = HERE.temporary / "accuracies.json"
"""The accuracies of the last successful run of this workspace."""


def keep_outcome() -> None:
    """Make the artifacts, as far as there is a report; a server that is away then takes nothing from the run."""
    table, summary = HERE.summary("md"), HERE.summary("json")
    text = table.read_text(encoding="utf-8") if table.exists() else ""
    if summary.exists():
        now = accuracies(summary, load(HERE.params).grid.seeds)
        text = f"{text}\n{HEADING}\n\n{change(last(), now)}\n"
        write_json(now, LAST)
    try:
        if text:
            create_markdown_artifact(text, key="summary")
        if HERE.report.exists():
            create_link_artifact(report_address(), key="report", link_text="The report")
    except httpx.HTTPError as error:
        tell(f"warning: the server has no summary of this run ({type(error).__name__}: {error})")


def report_address(page: Path = HERE.report) -> str:
    """The address of a page of reports/: at the server of `make ui`, or on the disk of this machine.

    A browser follows no link from a server to its disk, but it opens the address where that is pasted.
    """
    if (folder := os.environ.get(REPORTS_URL)) is not None:
        return f"{folder}/{page.relative_to(HERE.reports)}"
    return page.absolute().as_uri()


def accuracies(summary: Path, seeds: Sequence[int]) -> Accuracies:
    """Row -> its mean accuracy under the names of all its seeds: it can be compared with one of the same seeds."""
    rows: list[Mapping[str, Any]] = json.loads(summary.read_text(encoding="utf-8"))
    return {row["run"]: {", ".join(map(str, seeds)): row["accuracy"]} for row in rows}


def last() -> Accuracies:
    """The accuracies of the last successful run; empty where there was none."""
    accuracies: Accuracies = json.loads(LAST.read_text(encoding="utf-8")) if LAST.exists() else {}
    return accuracies


def change(before: Accuracies, now: Accuracies) -> str:
    """A table in Markdown of the accuracy of each row, after the last successful run and now."""
    return markdown(HEADER, change_table(before, now)) if before else "There was none."
