"""The figures that papers print, and the rows of a grid that they are figures of."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from bss.parsing import checked, read_mapping
from bss.paths import Cell
from bss.registry import MethodName, Name, Strict
from bss.types import ALONE, BASELINE

Figures = dict[Name, Annotated[float, Field(gt=0, le=100)]]
"""Data set -> accuracy on test in %, as printed."""


class Row(Strict, use_attribute_docstrings=True):
    """A line of a paper's table, and the cells here that are the same."""

    key: Annotated[str, Field(pattern=r"^[a-z0-9-]+$")]
    label: str
    """What a reader sees."""
    method: MethodName
    scheduler: Name = BASELINE
    released: Literal["method", "scheduler"] | None = None
    """Which of the two is as the authors' code has it, where that differs from their paper."""
    output: str | None = None
    """The output that is judged; where none is named the method's own rule or else `evaluate.rule`."""
    fields: dict[Name, dict[str, Any]] = Field(default_factory=dict)
    """Data set -> fields of the method there."""
    bss: Figures = Field(default_factory=dict)
    aug: Figures = Field(default_factory=dict)

    @property
    def grid_method(self) -> str:
        """Its method's name in params.yaml."""
        return f"{self.method}_released" if self.released == "method" else self.method

    @property
    def grid_scheduler(self) -> str:
        """Its scheduler's name in params.yaml."""
        return f"{self.scheduler}-released" if self.released == "scheduler" else self.scheduler

    @property
    def is_alone(self) -> bool:
        """Whether it is a modality by itself, which stages of its own train and judge."""
        return self.method == ALONE

    def cell(self, seed: int) -> Cell:
        """The training of one seed."""
        return Cell(self.grid_method, self.grid_scheduler, seed)

    def figures(self, data_set: str) -> dict[str, float]:
        """Paper -> its figure on a data set, of those that print one."""
        each = {"bss": self.bss, "aug": self.aug}
        return {paper: figures[data_set] for paper, figures in each.items() if data_set in figures}


class Published(Strict, use_attribute_docstrings=True):
    """All figures, and where they stand."""

    sources: dict[str, str]
    """Paper -> title, place and table."""
    weights: dict[str, str]
    """File of an encoder's weights -> from where it comes."""
    data_sets: list[Name]
    short: dict[str, Name] = Field(default_factory=dict)
    """What papers call a data set, where that is not its name."""
    rows: list[Row]


def read_published(path: Path) -> Published:
    """The figures of a file.

    Raises:
        InputError: a key, a type or a figure is wrong.
    """
    return checked(read_mapping(path), Published, path)
