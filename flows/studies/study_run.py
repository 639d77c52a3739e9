"""A study, ready to run: its rows, and the parameters that come of params.yaml, a data set and settings."""

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple, Self

from bss.evaluation.comparing.variant import Variant
from bss.evaluation.page.words import percent
from bss.params import Params
from bss.parsing import checked, read_mapping, setting
from bss.paths import HERE
from bss.registry import lookup
from bss.training.methods.method import METHODS
from bss.types import BASELINE
from bss.wording import counted
from flows.studies.study import FOLDER, Overlay, Raw, Study, find, overlaid


class Repeat(NamedTuple):
    """One of the times that all rows of a study are run: a seed and, where the data are dealt into folds, a fold."""

    seed: int
    fold: int | None = None

    def __str__(self) -> str:
        return f"seed {self.seed}" + ("" if self.fold is None else f", fold {self.fold}")


@dataclass(frozen=True, kw_only=True)
class Repeated(ABC):
    """What is run several times, each in a workspace of its own. `params` is what is read; `raw` is only written."""

    name: str
    """Of its workspaces and of its results."""
    params: Params
    raw: Raw
    """The content of params.yaml for all repeats, as plain values."""
    about: tuple[str, ...]
    """What its page says first, a sentence each."""
    command: str
    """What repeats it."""

    @property
    def results(self) -> Path:
        """The folder of its tables and pages."""
        return HERE.studies / self.name

    @property
    def page(self) -> Path:
        """What a person opens of them."""
        return self.results / "page.html"

    @property
    @abstractmethod
    def repeats(self) -> list[Repeat]:
        """The times that it is run."""

    @abstractmethod
    def of(self, repeat: Repeat) -> Raw:
        """The content of params.yaml for one repeat."""

    @abstractmethod
    def targets(self, repeat: Repeat) -> list[str]:
        """The stages at the end of one repeat, which are brought up to date with all that they need."""


FIRST = "joint"
"""A method that any data can be used with."""


@dataclass(frozen=True, kw_only=True)
class StudyRun(Repeated):
    """All that a run of a study needs; `raw` has the study in it."""

    study: Study

    @property
    def choices(self) -> dict[str, list[Variant]]:
        """Method -> the variants of it that are chosen from; one without a field where there is nothing to choose."""
        return {name: self._variants(name) for name in self.study.methods}

    def _variants(self, method: str) -> list[Variant]:
        fields = self.params.methods[method].grid if self.study.tune else {}
        return [Variant(method, dict(zip(fields, values, strict=True))) for values in product(*fields.values())]

    def tuning(self) -> Self | None:
        """The run by which the fields of methods are chosen; None where there is nothing to choose."""
        variants = [variant for several in self.choices.values() if len(several) > 1 for variant in several]
        seeds = self.params.grid.seeds[: self.study.tune_seeds]
        return self._with(variants, [BASELINE], seeds) if variants else None

    def tuned(self, accuracies: Mapping[str, float]) -> Self:
        """The run with the best variant of each method; of equal ones the first of the grid.

        Args:
            accuracies: name of a variant as a method -> its mean accuracy on validation.
        """
        best = [
            max(several, key=lambda variant: accuracies[as_method(variant)]) if len(several) > 1 else several[0]
            for several in self.choices.values()
        ]
        kept = ", ".join(as_method(variant) for variant in best if as_method(variant) in accuracies)
        tried = ", ".join(f"{method} {percent(accuracy)} %" for method, accuracy in accuracies.items())
        grid = self.params.grid
        number = counted(len(grid.seeds[: self.study.tune_seeds]), "seed")
        sentence = f"Chosen on validation, in the order of {BASELINE}, with {number}: {kept}. Tried: {tried}."
        return replace(self._with(best, grid.schedulers, grid.seeds), about=(*self.about, sentence))

    def _with(self, variants: Sequence[Variant], schedulers: Sequence[str], seeds: Sequence[int]) -> Self:
        """The same with another grid, of variants of methods."""
        raw, specs = deepcopy(self.raw), self.raw["methods"]
        for variant in variants:
            raw["methods"][as_method(variant)] = {**specs[variant.base], **variant.settings}
        raw["grid"] |= {
            "seeds": list(seeds),
            "methods": [as_method(variant) for variant in variants],
            "schedulers": list(schedulers),
        }
        return replace(self, raw=raw, params=checked(raw, Params, Path(self.name)))

    @property
    def repeats(self) -> list[Repeat]:
        """Every seed or, of a study with folds, every seed of every fold."""
        folds = range(self.study.folds) if self.study.folds else [None]
        return [Repeat(seed, fold) for fold in folds for seed in self.params.grid.seeds]

    def of(self, repeat: Repeat) -> Raw:
        """The content of params.yaml for one repeat."""
        raw = self.raw | {"grid": self.raw["grid"] | {"seeds": [repeat.seed]}}
        if repeat.fold is None:
            return raw
        return raw | {"preprocess": raw["preprocess"] | {"folds": self.study.folds, "fold": repeat.fold}}

    def targets(self, repeat: Repeat) -> list[str]:
        """The judgements of all cells."""
        return ["evaluate", "evaluate-alone"]


def composed(
    study: str,
    on: str | None,
    *,
    command: str,
    name: str | None = None,
    seeds: int | None = None,
    folds: int | None = None,
    settings: Sequence[str] = (),
) -> StudyRun:
    """A study of `comparisons/` on params.yaml: the data set comes first, then the study, then the settings.

    Args:
        study: its name there, or the path of another file.
        on: the data set, likewise, of `comparisons/on/`; that of params.yaml by default.
        command: what repeats the run.
        name: of the results; by default those of the study and the data set.
        seeds: how many, instead of what the study says.
        folds: likewise.
        settings: texts `key=value`.

    Raises:
        InputError: what is not there, or does not fit together; one line a fault.
    """
    places = [find(study, FOLDER), *([find(on, FOLDER / "on", "data set for --on")] if on else [])]
    rows = checked(read_mapping(places[0]), Study, places[0])
    for field, number in {"seeds": seeds, "folds": folds}.items():
        if number is not None:
            rows = checked({**rows.model_dump(), field: number}, Study, Path(f"--{field}"))
    overlays = [checked(read_mapping(place), Overlay, place) for place in places[1:]]
    raw = read_mapping(HERE.params)
    raw["methods"] = METHODS.every(raw.get("methods", {}))  # so that an overlay may vary each
    for overlay in overlays:
        raw = overlaid(raw, overlay.params)
    values = dict(map(setting, settings))
    rows, left_out = suited(rows, overlaid(raw, values, may_add=True), places[0]) if rows.leave_out else (rows, [])
    raw = overlaid(rows.parameters(raw), values, may_add=True)
    run = StudyRun(
        name=name or "-".join(place.stem for place in places),
        study=rows,
        params=checked(raw, Params, places[0]),
        raw=raw,
        about=(*(part.about for part in (rows, *overlays)), *left_out),
        command=command,
    )
    checked(run.of(run.repeats[-1]), Params, Path("folds"))
    return run


def suited(rows: Study, raw: Raw, origin: Path) -> tuple[Study, list[str]]:
    """A study without the methods that cannot be used with the data, and a sentence for each of them."""
    whole = rows.parameters(raw)
    params = checked({**whole, "grid": {**whole["grid"], "methods": [FIRST]}}, Params, origin)
    reasons = {name: params.unsuited(lookup("training method", name, params.methods)) for name in rows.methods}
    kept = [name for name, reason in reasons.items() if not reason]
    sentences = [f"Left out: {name}. {reason[:1].upper()}{reason[1:]}." for name, reason in reasons.items() if reason]
    return checked({**rows.model_dump(), "methods": kept}, Study, origin), sentences


def composed_each(
    study: str, on: str | None, *, name: str | None = None, settings: Sequence[str] = (), **options: Any
) -> list[StudyRun]:
    """A run for every combination of the values that a study has under `each`; one of a study that has none.

    Args:
        study: as of `composed`.
        on: likewise.
        name: of the results; that of a run has its values behind it.
        settings: texts `key=value`; a key that the study has under `each` takes this value alone.
        options: the other arguments of `composed`.

    Raises:
        InputError: as `composed`, before anything is run.
    """
    places = [find(study, FOLDER), *([find(on, FOLDER / "on", "data set for --on")] if on else [])]
    given = dict(map(setting, settings))
    each = {
        key: [given[key]] if key in given else values
        for key, values in checked(read_mapping(places[0]), Study, places[0]).each.items()
    }
    name = name or "-".join(place.stem for place in places)
    found = []
    for values in product(*each.values()):
        varied = dict(zip(each, values, strict=True))
        texts = [f"{key}={json.dumps(value)}" for key, value in varied.items()]
        run = composed(study, on, name=Variant(name, varied).name, settings=[*settings, *texts], **options)
        found.append(replace(run, about=(*run.about, *([f"{', '.join(texts)}."] if texts else []))))
    return found


def as_method(variant: Variant) -> str:
    """The name under which a variant of a method stands in params.yaml."""
    return variant.name.replace("-", "_")
