"""docs/components.md, made of the code: `python -m docs.components` writes it there."""

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bss.curriculum.acquisitions.acquisition import ACQUISITIONS
from bss.curriculum.pacing.pacing import PACINGS
from bss.curriculum.schedulers.scheduler import SCHEDULERS
from bss.data.datasets.dataset import DATASETS
from bss.data.kinds.kind import KINDS
from bss.encoders.encoder import ENCODERS
from bss.encoders.fusions.fusion import FUSIONS
from bss.evaluation.page.text import markdown
from bss.exits import exits
from bss.fields import Setting, settings
from bss.files import write_text
from bss.measure.criteria.criterion import CRITERIA
from bss.registry import Component, Registry
from bss.training.loggers.logger import LOGGERS
from bss.training.objectives.objective import OBJECTIVES
from docs.marked import filled

PAGE = Path(__file__).with_suffix(".md")
COMMAND = "python -m docs.components"
SECTIONS: dict[str, tuple[Registry[Any], str]] = {
    "Data sets": (DATASETS, "preprocess: {name: manifest, file: data/raw/mine/pairs.csv}"),
    "Kinds of modalities": (KINDS, "preprocess: {kinds: {photo: {name: image, size: 64}}}"),
    "Encoders": (ENCODERS, "encoders: {audio: {name: small_cnn, width: 16}}"),
    "Fusions": (FUSIONS, "fusion: {name: gated, width: 64}"),
    "Warm-up objectives": (OBJECTIVES, "warmup: {objective: {name: umurl}}"),
    "Balance criteria": (CRITERIA, "score: {criteria: [prediction_similarity, training_loss]}"),
    "Schedulers": (
        SCHEDULERS,
        "curriculum: {schedulers: {mine: {name: learned, beta: 0.3}}}, grid: {schedulers: [random, mine]}",
    ),
    "Pacings": (PACINGS, "curriculum: {schedulers: {mine: {name: heuristic, pacing: {name: linear, start: 0.2}}}}"),
    "Acquisitions": (ACQUISITIONS, "active: {acquisitions: {mine: {name: bmmal}}}"),
    "Loggers": (LOGGERS, "flow: {log: [tensorboard]}"),
}
"""Heading -> what is listed, and how params.yaml names one."""


def written(text: str) -> str:
    """The page with its lists made anew."""
    return filled(text, COMMAND, *parts())


def parts() -> Iterator[str]:
    """A section for every extension point but the methods, which have pages of their own."""
    for heading, (registry, example) in SECTIONS.items():
        yield f"## {heading}"
        yield f"`{example}`"
        common = _common(registry)
        if common:
            yield f"All have:\n\n{_table(common)}"
        for name in registry:
            component = registry[name]
            yield f"### {name}"
            yield _idea(component)
            own = [one for one in _settings(component) if one not in common]
            if own:
                yield _table(own)


def _common(registry: Registry[Any]) -> list[Setting]:
    """The fields of their common class; a component that has another default shows it again."""
    return list(_settings(registry.base))


def _settings(component: Any) -> tuple[Setting, ...]:
    return settings(component) if isinstance(component, type) and issubclass(component, Component) else ()


def _idea(component: Any) -> str:
    """The first paragraph of its docstring."""
    described = component if isinstance(component, type) else component.function
    return " ".join(inspect.cleandoc(described.__doc__ or "").partition("\n\n")[0].split())


def _table(fields: list[Setting]) -> str:
    rows = [[f"`{one.name}`", f"`{one.default}`", one.meaning] for one in fields]
    return markdown(["field", "default", "meaning"], rows, 3)


if __name__ == "__main__":
    with exits():
        write_text(written(PAGE.read_text(encoding="utf-8")), PAGE)
