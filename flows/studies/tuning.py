"""A search for better values on validation, ready to run: one row of the grid, and what each key may be."""

from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bss.errors import InputError
from bss.params import Params
from bss.parsing import assign, checked
from bss.paths import HERE, Cell
from bss.registry import lookup
from bss.search import Range
from bss.training.methods.method import METHODS
from bss.types import BASELINE
from flows.studies.study import Raw, overlaid

TRAIN, METHOD, SCHEDULER = "train.", "methods.", "curriculum.schedulers."
SECTION = "search"
Values = Mapping[str, Any]
"""Dotted key -> its value."""


@dataclass(frozen=True)
class Tuning:
    """A method in the order of a scheduler, and the ranges of what is chosen for it.

    A trial shares the data, the encoders, the warm-up and the scores with all others. So only what training alone
    reads can be searched: `train`, the fields of the method, and those of the scheduler.
    """

    raw: Raw
    """The content of params.yaml, with every method and with this row as its grid."""
    method: str
    scheduler: str
    seeds: tuple[int, ...]
    """A trial is as good as the mean over them."""
    ranges: Mapping[str, Range]

    @classmethod
    def of(cls, raw: Raw, method: str | None, scheduler: str | None, num_seeds: int | None) -> "Tuning":
        """The search that the parameters ask for.

        Args:
            raw: the content of params.yaml.
            method: the first of the grid by default.
            scheduler: random order by default.
            num_seeds: so many of the grid's; all by default.

        Raises:
            InputError: a name, a key or a range is wrong, or there is nothing to search.
        """
        params = checked(raw, Params, HERE.params)
        method = method or params.grid.methods[0]
        fields = lookup("training method", method, params.methods).grid
        scheduler = lookup("scheduler", scheduler or BASELINE, {name: name for name in params.grid.schedulers})
        if num_seeds is not None and num_seeds > len(params.grid.seeds):
            raise InputError(f"--seeds {num_seeds}: grid.seeds has {len(params.grid.seeds)}; give it as many")
        raw = {**deepcopy(raw), "methods": METHODS.every(raw["methods"])}
        raw["grid"] |= {"methods": [method], "schedulers": list(dict.fromkeys([BASELINE, scheduler]))}
        checked(raw, Params, HERE.params)  # the method may not suit the data
        for key, range_ in params.search.items():
            _check(raw, key, range_)
        own = (TRAIN, f"{METHOD}{method}.", f"{SCHEDULER}{scheduler}.")
        declared = {f"{METHOD}{method}.{name}": _declared(values) for name, values in fields.items()}
        ranges = {key: found for key, found in {**declared, **params.search}.items() if key.startswith(own)}
        if not ranges:
            raise InputError(
                f"{HERE.params}: nothing to search for {method} in the order of {scheduler}: give {SECTION} a key "
                f"that begins with {', '.join(own)}, as in {{train.lr: {{low: 0.001, high: 0.01, log: true}}}}"
            )
        return cls(raw, method, scheduler, tuple(params.grid.seeds[:num_seeds]), ranges)

    @property
    def cells(self) -> list[Cell]:
        """The trainings of a trial."""
        return [Cell(self.method, self.scheduler, seed) for seed in self.seeds]

    @property
    def stages(self) -> list[str]:
        """What all trials share."""
        return [f"curriculum@{self.scheduler}-{seed}" for seed in self.seeds]

    @property
    def lays_out(self) -> bool:
        """Whether each trial has sequences of its own."""
        return any(key.startswith(SCHEDULER) for key in self.ranges)

    @property
    def current(self) -> dict[str, Any]:
        """The values of params.yaml, or the defaults of what it does not name."""
        params = checked(self.raw, Params, HERE.params)
        return {key: _value(params, key) for key in self.ranges}

    def with_values(self, values: Values) -> Raw:
        """The content of params.yaml for a trial."""
        return overlaid(self.raw, values, may_add=True)

    @property
    def constants(self) -> Raw:
        """What the trials of one search have in common: all that training reads, without the values searched."""
        raw = self.with_values(dict.fromkeys(self.ranges))
        sections = {
            name: raw[name]
            for name in ("encoders", "fusion", "augment", "warmup", "score", "train", "spread", "runtime")
        }
        parts = {"method": raw["methods"][self.method], "epochs": raw["curriculum"]["epochs"]}
        return {**sections, **parts, "scheduler": raw["curriculum"]["schedulers"][self.scheduler]}


def stored(raw: Raw, values: Values) -> dict[str, Any]:
    """The same values as keys that can be written to params.yaml, where a method may not be named yet."""
    named = raw["methods"]
    found: dict[str, Any] = {}
    for key, value in values.items():
        name = key.removeprefix(METHOD).partition(".")[0]
        if not key.startswith(METHOD) or name in named:
            found[key] = value
        else:
            spec = found.setdefault(f"{METHOD}{name}", {"name": name})
            assign(spec, key.removeprefix(f"{METHOD}{name}."), value, may_add=True)
    return found


def _declared(values: tuple[object, ...]) -> Range:
    return Range.model_validate({"choices": list(values)})


def _check(raw: Raw, key: str, range_: Range) -> None:
    """Refuse a key that is not there or that trials share, and ends of a range that params.yaml could not have."""
    origin = Path(f"{HERE.params}: {SECTION}.{key}")
    for value in range_.ends:
        try:
            given = overlaid(raw, {key: value}, may_add=True)
        except InputError as error:
            raise InputError(f"{origin}: {error}") from None
        if not key.startswith((TRAIN, METHOD, SCHEDULER)):
            raise InputError(
                f"{origin}: trials share the data, the encoders, the warm-up and the scores; only {TRAIN}*, "
                f"{METHOD}NAME.* and {SCHEDULER}NAME.* can be searched"
            )
        checked(given, Params, origin)


def _value(params: Params, key: str) -> Any:
    found: Any = params
    for part in key.split("."):
        found = found[part] if isinstance(found, Mapping) else getattr(found, part)
    return found


def assignments(values: Values) -> Iterator[str]:
    """`lr=0.002` for each value; a key by its last part, where no other has the same."""
    lasts = [key.rpartition(".")[2] for key in values]
    for (key, value), last in zip(values.items(), lasts, strict=True):
        yield f"{last if lasts.count(last) == 1 else key}={value}"
