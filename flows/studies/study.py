"""A study: what differs from params.yaml, and the rows that are compared.

A file of `comparisons/` holds one. Its rows are schedulers of params.yaml, as they stand there or with fields
varied, every combination of the values of one scheduler a row. A file of `comparisons/on/` holds what differs on one
data set.
"""

from collections.abc import Iterator, Mapping
from copy import deepcopy
from itertools import product
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from bss.errors import InputError
from bss.evaluation.comparing.variant import Variant
from bss.parsing import assign
from bss.registry import Strict, lookup

FOLDER = Path("comparisons")
NAMED = ("curriculum.schedulers", "methods")
"""Sections in which a study may name something that params.yaml does not."""
Raw = dict[str, Any]


class Overlay(Strict):
    """Values that differ from params.yaml, by their dotted keys."""

    about: str
    params: dict[str, Any] = Field(default_factory=dict)


class Study(Overlay):
    """The rows of a comparison and how often each is repeated."""

    seeds: Annotated[int, Field(ge=1)]
    folds: Annotated[int, Field(ge=2)] | None = None
    """Parts that the data are dealt into: each is the test split once, with every seed, so that intervals include the
    chance in which pairs are tested. The data set has the fields `folds` and `fold`."""
    each: dict[str, Annotated[list[Any], Field(min_length=1)]] = Field(default_factory=dict)
    """Dotted key of params.yaml -> values: the whole study is run for every combination, with results of its own."""
    methods: list[str] = Field(default=["joint"], min_length=1)
    """Names in params.yaml. Every row is also compared with the first of several in the baseline's order."""
    leave_out: bool = False
    """Whether methods that cannot be used with the data are left out, and named; else they are an error."""
    tune: bool = False
    """Whether each method's fields are chosen first, from its own small grid, by the validation accuracy in the
    baseline's order, the mean over the seeds."""
    tune_seeds: Annotated[int, Field(ge=1)] | None = None
    """How many of the seeds they are chosen by; all by default."""
    schedulers: dict[str, dict[str, Annotated[list[Any], Field(min_length=1)]]]
    """Scheduler of params.yaml -> dotted field -> the values it takes; no field: the scheduler as it stands."""
    twins: str | None = None
    """A flag among the fields: rows that differ in it alone are also compared with each other."""

    def variants(self) -> list[Variant]:
        """The rows, in the order of the file.

        Raises:
            InputError: two of them are the same.
        """
        variants = [variant for scheduler in self.schedulers for variant in self._variants(scheduler)]
        names = [variant.name for variant in variants]
        if double := [name for name in names if names.count(name) > 1]:
            raise InputError(f"schedulers: {double[0]} comes twice")
        return variants

    def _variants(self, scheduler: str) -> Iterator[Variant]:
        fields = self.schedulers[scheduler]
        for values in product(*fields.values()):
            yield Variant(scheduler, dict(zip(fields, values, strict=True)), self.twins)

    def parameters(self, raw: Raw) -> Raw:
        """The content of params.yaml with this study in it: its own values, its rows as schedulers, its grid.

        Raises:
            InputError: a key or a scheduler is not there.
        """
        added = {key: value for key, value in self.params.items() if key.rpartition(".")[0] in NAMED}
        raw = overlaid(raw, {key: value for key, value in self.params.items() if key not in added})
        raw = overlaid(raw, added, may_add=True)
        schedulers, variants = raw["curriculum"]["schedulers"], self.variants()
        rows = {}
        for variant in variants:
            spec = lookup("scheduler", variant.base, schedulers)
            rows[variant.name] = overlaid(spec, variant.settings, may_add=True)
        raw["curriculum"]["schedulers"] = schedulers | rows
        followed = {name for spec in rows.values() for name in spec.get("criteria", [])}
        score = raw["score"]
        score["others"] = sorted((followed | {*score["others"]}) - {*score["criteria"]})
        raw["grid"] = {"seeds": list(range(self.seeds)), "methods": self.methods, "schedulers": list(rows)}
        return raw


def find(name: str, folder: Path, kind: str = "comparison") -> Path:
    """The file of a study or overlay by its name, or the path itself.

    Raises:
        UnknownName: there is none.
    """
    if (path := Path(name)).is_file():
        return path
    known = {path.stem: path for path in sorted(folder.glob("*.yaml"))}
    return lookup(kind, name, known)


def overlaid(raw: Raw, values: Mapping[str, Any], *, may_add: bool = False) -> Raw:
    """A copy with the values at their dotted keys; the last part of a key may be new where `may_add`.

    Raises:
        UnknownName: a key is not there.
    """
    raw = deepcopy(raw)
    for key, value in values.items():
        assign(raw, key, value, may_add=may_add)
    return raw
