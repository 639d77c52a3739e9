"""A difference as a page, in one file that needs nothing beside it."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from bss.evaluation.diff.charts import model_charts, score_charts, sequence_charts
from bss.evaluation.diff.difference import Difference
from bss.evaluation.diff.sections import sections
from bss.evaluation.diff.summary import summary
from bss.evaluation.page.canvas import Chart
from bss.evaluation.page.section import Charts, Prose, Section
from bss.evaluation.page.template import rendered
from bss.files import write_text

CHARTS: dict[str, Callable[[Difference], list[Chart]]] = {
    "Scores": score_charts,
    "Sequences": sequence_charts,
    "Models": model_charts,
}
"""Title of a section -> its charts."""


def write_page(difference: Difference, path: Path, top: int) -> None:
    """Write the page; the same difference gives the same bytes. Folders of `path` are made."""
    write_text(render(difference, top), path)


def render(difference: Difference, top: int) -> str:
    """The page as text; of a list of pairs the first `top` rows."""
    title, *lines = summary(difference)
    shown = [_with_charts(section, difference) for section in sections(difference, top)]
    first = Section("", [Prose(lines, "verdict")])
    return rendered(title, "What changed", [title], [first, *shown], navigation=bool(shown))


def _with_charts(section: Section, difference: Difference) -> Section:
    """The section with its charts above its tables; text has the tables alone, and draws nothing."""
    charts = CHARTS[section.title](difference) if section.title in CHARTS else []
    return replace(section, blocks=[Charts(charts, num_open=len(charts)), *section.blocks])
