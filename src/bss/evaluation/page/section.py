"""The content of a page as data: sections of blocks; `page.html` has a macro for each kind of block."""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from bss.evaluation.page.canvas import Chart


def anchor(title: str) -> str:
    """The address of a title within its page, as in `how-to-repeat`."""
    return re.sub(r"\W+", "-", title.lower()).strip("-")


@dataclass(frozen=True)
class Prose:
    """Sentences: a paragraph each, or together in a box."""

    lines: Sequence[str]
    look: Literal["plain", "muted", "verdict", "notes"] = "plain"
    """`verdict`: a tinted box; `notes`: a list in a box that warns."""


@dataclass(frozen=True)
class Verdict:
    """What was found, in a sentence, and how far it can be trusted."""

    sentence: str
    trust: str = ""


@dataclass(frozen=True)
class Verdicts:
    """Verdicts in one box, all in letters of the same size, and maybe a chart of them beside it."""

    verdicts: Sequence[Verdict]
    chart: Chart | None = None


@dataclass(frozen=True)
class Facts:
    """Names and values, side by side in one box."""

    pairs: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Code:
    """Lines to copy, in a fixed width."""

    title: str
    text: str
    folded: bool = False
    """Whether the reader has to open it."""


@dataclass(frozen=True)
class Legend:
    """Which line means what in the charts that follow."""

    entries: Sequence[tuple[str, str, Sequence[float]]]
    """Label, variable of the style sheet that holds the colour, lengths of stroke and gap in line widths."""


@dataclass(frozen=True)
class Charts:
    """Charts under an optional title."""

    charts: Sequence[Chart]
    title: str = ""
    note: str = ""
    """A paragraph above them."""
    look: Literal["grid", "wide"] = "grid"
    """`grid` sets them side by side; `wide` gives each a row, its caption beside."""
    num_open: int = 6
    """Charts of a grid that are in sight; further ones are folded away."""


@dataclass(frozen=True)
class Table:
    """Cells as a reader sees them; the first of a row is its name."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""
    """A paragraph above it that describes it."""
    headed: bool = False
    """Whether the title is shown, and the note in small print; else the title is only read aloud."""
    folded: bool = False
    """Whether the reader has to open it."""
    in_words: bool = False
    """Whether its cells are words, aligned to the left."""
    muted: Collection[str] = ()
    """Names of rows that stand back."""


@dataclass(frozen=True)
class Shown:
    """One modality of a pair: a data address to look at or listen to, or text."""

    modality: str
    media: str
    """`image`, `audio`, `text`; or of numbers `strip`, a row of cells, or `map`, several."""
    content: str
    words: str = ""
    """What is read aloud of a picture, where its name does not say it."""


@dataclass(frozen=True)
class Example:
    """One training pair with its balance score."""

    id: str
    class_name: str
    score: float
    place: str
    """Where it stands in the order by balance score: `most`, `median` or `least`."""
    damage: str
    """What was damaged on purpose; empty for an intact pair."""
    modalities: tuple[Shown, ...]
    remark: str = ""
    """What else is known of it."""


@dataclass(frozen=True)
class Examples:
    """Training pairs to look at and to listen to, a card each."""

    title: str
    pairs: Sequence[Example]


Block: TypeAlias = Prose | Verdicts | Facts | Code | Legend | Charts | Table | Examples


@dataclass(frozen=True)
class Section:
    """A part of a page."""

    title: str
    """The text of its link in the navigation; a section without one has neither link nor heading."""
    blocks: Sequence[Block]
    heading: str = ""
    """Where it is another one than the title."""

    @property
    def anchor(self) -> str:
        """The address of the section within its page."""
        return anchor(self.title)
