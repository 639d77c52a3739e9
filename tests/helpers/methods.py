"""Which training methods a test takes: by day a few that stand for all, by night every one."""

from collections.abc import Iterable, Mapping
from typing import Any

import pytest

TELLING = ("joint", "reconboost", "modality_valuation", "mla", "g2d")
"""A plain loss; turns and a memory; its own order; its own fusion and prediction; phases and teachers."""


def every(specs: Iterable[Mapping[str, Any]]) -> list[Any]:
    """The same of all methods, by day each with the first of its variants."""
    found, seen = [], set()
    for each in telling(specs):
        (given,) = each.values
        found.append(pytest.param(given, id=each.id, marks=pytest.mark.nightly if given["name"] in seen else ()))
        seen.add(given["name"])
    return found


def telling(specs: Iterable[str | Mapping[str, Any]]) -> list[Any]:
    """Parameters of a test, methods by name or by specification; those that are not `TELLING` are nightly."""
    found = []
    for spec in specs:
        name, *fields = (spec,) if isinstance(spec, str) else spec.values()
        marks = () if name in TELLING else pytest.mark.nightly
        found.append(pytest.param(spec, id=" ".join(map(str, [name, *fields])), marks=marks))
    return found
