"""Which training methods a test takes: by day a few that stand for all, by night every one."""

from collections.abc import Iterable, Mapping
from typing import Any

import pytest

TELLING = ("joint", "reconboost", "modality_valuation", "mla", "g2d")
"""A plain loss; turns and a memory; its own order; its own fusion and prediction; phases and teachers."""


def telling(specs: Iterable[str | Mapping[str, Any]]) -> list[Any]:
    """Parameters of a test, methods by name or by specification; those that are not `TELLING` are nightly."""
    found = []
    for spec in specs:
        name, variant = (spec, None) if isinstance(spec, str) else (spec["name"], spec.get("variant"))
        marks = () if name in TELLING else pytest.mark.nightly
        found.append(pytest.param(spec, id=f"{name} {variant}" if variant else name, marks=marks))
    return found
