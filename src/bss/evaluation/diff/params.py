"""Differences between two parameter files."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class ParamDifference:
    """A key of params.yaml whose value differs; None is the value where a file lacks the key."""

    key: str
    """Dotted, as in `train.epochs`."""
    before: Any
    after: Any


def param_differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[ParamDifference, ...]:
    """Every key whose values differ, in the order of the files; a list counts as one value."""
    old, new = dict(_flat(before)), dict(_flat(after))
    keys = [*old, *(key for key in new if key not in old)]
    return tuple(ParamDifference(key, old.get(key), new.get(key)) for key in keys if old.get(key) != new.get(key))


def _flat(values: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        key = f"{above}{name}"
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{key}.")
        else:
            yield key, value
