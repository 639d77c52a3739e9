"""A difference as a page, in one file that needs nothing beside it."""

from collections.abc import Callable
from pathlib import Path

from bss.evaluation.diff.charts import model_charts, score_charts, sequence_charts
from bss.evaluation.diff.difference import Difference
from bss.evaluation.diff.sections import sections
from bss.evaluation.diff.summary import summary
from bss.evaluation.page.canvas import Chart
from bss.evaluation.page.template import rendered
from bss.files import write_text

CHARTS: dict[str, Callable[[Difference], list[Chart]]] = {
    "Scores": score_charts,
    "Sequences": sequence_charts,
    "Models": model_charts,
}
"""Title of a section -> its charts."""
LONG = 20
"""Rows, from which on a table is folded away."""


def write_page(found: Difference, path: Path, top: int) -> None:
    """Write the page; the same difference gives the same bytes. Folders of `path` are made."""
    write_text(render(found, top), path)


def render(found: Difference, top: int) -> str:
    """The page as text; of a list of pairs the first `top` rows."""
    first, *lines = summary(found)
    shown = [
        (section, CHARTS[section.title](found) if section.title in CHARTS else []) for section in sections(found, top)
    ]
    return rendered(Path(__file__).with_name("diff.html"), title=first, lines=lines, sections=shown, long=LONG)
