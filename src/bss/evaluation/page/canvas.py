"""Drawing for a page that is light or dark: matplotlib draws, the style sheet colours.

Every colour drawn with is a stand-in that becomes a variable of the style sheet. Text stays text, so that it
takes the font of the page and can be read aloud and searched.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import StringIO
from textwrap import fill
from typing import Any

from markupsafe import Markup, escape
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

INK, MUTED, GRID = "#0a0a01", "#0a0a02", "#0a0a03"
SERIES = tuple(f"#0b0b{number:02d}" for number in range(7))
VARIABLES = {INK: "ink", MUTED: "muted", GRID: "grid"} | {
    colour: f"series-{number}" for number, colour in enumerate(SERIES)
}
WIDTH, HEIGHT = 3.9, 2.7  # inches: the width of a phone, where text then has the size it is drawn with
WIDE = 1.2 * WIDTH
MAX_LABEL = 56
"""Characters of a line of a name above a row."""
MAX_CLASSES = 24
"""So many rows of a chart fit the height of a phone; of more classes some are left out."""

_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "bss",
    "text.parse_math": False,
    "font.family": "DejaVu Sans",  # measures the text; the style sheet sets the font that is seen
    "font.size": 9.5,
    "text.color": INK,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": MUTED,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "lines.linewidth": 1.7,
    "lines.solid_capstyle": "round",
    "figure.constrained_layout.use": True,
}

_METADATA = ("Creator", "Date", "Format", "Type")


@dataclass(frozen=True)
class Chart:
    """A drawing with its title above and its caption below."""

    title: str
    drawing: Markup
    caption: str = ""


@contextmanager
def canvas(width: float = WIDTH, height: float = HEIGHT) -> Iterator[tuple[Figure, Axes]]:
    """A figure of that size in inches, in the style of the page; draw and `finish` inside the block."""
    with rc_context(_STYLE):
        figure = Figure(figsize=(width, height))
        yield figure, figure.subplots()


def finish(figure: Figure, title: str, caption: str = "", description: str = "") -> Chart:
    """The chart of a figure: the same bytes for the same drawing."""
    file = StringIO()
    figure.savefig(file, format="svg", transparent=True, metadata=dict.fromkeys(_METADATA))
    return Chart(title, _themed(file.getvalue(), title, description or caption), caption)


def row_height(names: Sequence[str]) -> float:
    """Inches of each row whose name stands above it."""
    return 0.32 + 0.14 * max((_wrapped(name).count("\n") + 1 for name in names), default=1)


def _wrapped(name: str) -> str:
    return fill(name, MAX_LABEL)


def name_rows(axes: Axes, names: Sequence[str]) -> None:
    """Rows 0, 1, ... from the top, each name above its row: beside it a long one would leave a phone no room."""
    for place, name in enumerate(names):
        at = axes.get_yaxis_transform()
        text = axes.text(0, place - 0.26, _wrapped(name), transform=at, color=INK, va="bottom")
        text.set_in_layout(False)
    axes.set_yticks([])
    axes.set_ylim(len(names) - 0.6, -0.75)
    axes.grid(axis="y", visible=False)


def label_axes(axes: Axes, x: str, y: str) -> None:
    """Name both axes of a chart whose x axis counts."""
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(axis="x", visible=False)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _themed(drawing: str, title: str, description: str) -> Markup:
    body = drawing[drawing.index("<svg") :]
    box = re.search(r'viewBox="[^"]+"', body)
    label = escape(f"{title}. {description}" if description else title)
    body = f'<svg {box[0] if box else ""} role="img" aria-label="{label}">' + body[body.index(">") + 1 :]
    name = re.sub(r"\W+", "-", title.lower())
    body = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", body)
    body = re.sub(r"<style.*?</style>", "", body, flags=re.DOTALL)  # it would style the whole page
    for colour, variable in VARIABLES.items():
        body = body.replace(colour, f"var(--{variable})")
    return Markup(body)  # noqa: S704 - drawn above; matplotlib escapes the texts in it
