"""The report of a grid: its sections, each found in a file of `bss.evaluation.report`, as one page."""

import importlib
import pkgutil
from pathlib import Path
from types import ModuleType

import polars as pl

from bss.evaluation.grid.inputs import ReportInputs
from bss.evaluation.page.section import Section
from bss.evaluation.page.template import rendered
from bss.evaluation.page.words import listed
from bss.files import write_text
from bss.types import FUSED
from bss.wording import counted

MAX_NAMED = 4
"""Orders or methods that the head of the page names; of more it says how many."""
PACKAGE = "bss.evaluation.report"
"""Each module of it whose name does not begin with `_` is a section."""


def write_report(inputs: ReportInputs, out: Path) -> None:
    """Write the page; the same inputs give the same bytes. Folders of `out` are made."""
    page = rendered(
        title=f"{inputs.dataset}: balance-aware sequence sampling",
        heading=inputs.dataset,
        about=[_data(inputs), _question(inputs)],
        sections=sections(inputs),
        navigation=True,
    )
    write_text(page, out)


def sections(inputs: ReportInputs) -> list[Section]:
    """The sections that have something to show, in the order of their `PLACE`."""
    made = (module.section(inputs) for module in section_modules())
    return [section for section in made if section is not None]


def section_modules() -> list[ModuleType]:
    """The modules that make a section each, by their `PLACE`, then by their name.

    Raises:
        TypeError: one has no function `section`, or no number `PLACE`.
    """
    files = pkgutil.iter_modules(importlib.import_module(PACKAGE).__path__)
    names = [file.name for file in files if not file.name.startswith("_")]
    modules = [importlib.import_module(f"{PACKAGE}.{name}") for name in names]
    for module in modules:
        if not callable(getattr(module, "section", None)) or not isinstance(getattr(module, "PLACE", None), int):
            raise TypeError(f"{module.__file__} should define section(inputs) and its PLACE, a whole number")
    return sorted(modules, key=lambda module: (module.PLACE, module.__name__))


def _data(inputs: ReportInputs) -> str:
    pairs = listed([f"{number:,} {split}" for split, number in inputs.num_pairs.items()])
    return f"{pairs} pairs of {listed(inputs.modalities)} in {len(inputs.classes)} classes."


def _question(inputs: ReportInputs) -> str:
    fused = inputs.metrics.filter(pl.col("output") == FUSED)
    methods, schedulers = (
        [inputs.labels.get(value, value) for value in fused[name].unique(maintain_order=True)]
        for name in ("method", "scheduler")
    )
    orders = listed(schedulers) if len(schedulers) <= MAX_NAMED else f"{len(schedulers)} orders"
    trained = listed(methods) if len(methods) <= MAX_NAMED else f"{len(methods)} methods"
    return (
        "Does a balance score find the pairs whose modalities disagree, and does drawing the pairs in its order "
        f"help? Trained: {trained}; order: {orders}; {counted(len(inputs.seeds), 'seed')}."
    )
