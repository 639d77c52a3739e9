"""The catalogue of the training methods, all of it from their classes: for `bss methods` and docs/methods.md."""

import inspect
from collections.abc import Iterator
from typing import NamedTuple, get_args

from bss.fields import Setting, settings
from bss.registry import lookup
from bss.training.methods.method import METHODS, Family, Method, Record

FAMILIES: tuple[Family, ...] = get_args(Family)


class Entry(NamedTuple):
    """What there is to know of a method before it is tried."""

    name: str
    idea: str
    """One sentence."""
    record: Record
    needs: tuple[str, ...]
    """What it asks for beside the training pairs and the warm-up's weights."""
    variants: tuple[str, ...]
    """Where paper and code differ; the default comes first."""
    text: str
    """The formulas, and from where they are."""
    settings: tuple[Setting, ...]

    @property
    def line(self) -> str:
        """The idea and the paper."""
        return self.idea if self.record.paper == Record().paper else f"{self.idea} {self.record.paper}."


def entry(name: str) -> Entry:
    """What the catalogue holds of a method.

    Raises:
        UnknownName: there is no such method.
    """
    method: type[Method] = METHODS[name]
    return Entry(
        name,
        inspect.cleandoc(getattr(inspect.getmodule(method), "__doc__", None) or "").partition("\n")[0],
        vars(method).get("record", Record()),  # its own, and not that of a method that it is derived from
        tuple(_needs(method)),
        _variants(method),
        inspect.cleandoc(method.__doc__ or ""),
        settings(method),
    )


def entries(family: str | None = None) -> list[Entry]:
    """All methods by name, or those of a family.

    Raises:
        UnknownName: there is no such family.
    """
    if family is not None:
        lookup("family", family, dict.fromkeys(FAMILIES))
    found = map(entry, METHODS)
    return [one for one in found if family is None or family in one.record.families]


def _needs(method: type[Method]) -> Iterator[str]:
    if method.looks_at_validation:
        yield "validation"
    if not method.from_warmup:
        yield "a start of its own"
    if "fsdp" not in method.strategies:
        yield "whole weights (no fsdp)"


def _variants(method: type[Method]) -> tuple[str, ...]:
    field = method.model_fields.get("variant")
    if field is None:
        return ()
    return tuple(sorted(map(str, get_args(field.annotation)), key=lambda variant: variant != field.default))
