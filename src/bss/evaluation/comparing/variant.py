"""A row of a comparison: a scheduler or a method with some of its fields set."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Variant:
    """A scheduler or a method of params.yaml, and what is set in it."""

    base: str
    """Its name in params.yaml."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Dotted field -> value."""
    twins: str | None = None
    """A flag among the fields; the row with the flag and all else alike is the twin of that without."""

    @property
    def name(self) -> str:
        """A name for params.yaml and for files: `learned-beta_0_1`."""
        parts = [f"{_last(key)}_{_word(value)}" for key, value in self.settings.items()]
        return "-".join([self.base, *(re.sub(r"[^a-z0-9]+", "_", part.lower()).strip("_") for part in parts)])

    @property
    def label(self) -> str:
        """The name that a reader sees: `learned, beta 0.1`."""
        return ", ".join(
            [self.base, *(_labelled(key, value) for key, value in self.settings.items() if value is not False)]
        )

    @property
    def twin(self) -> "Variant | None":
        """The row that this one is also compared with, if there is one."""
        if self.twins is None or self.settings.get(self.twins) is not False:
            return None
        return Variant(self.base, {**self.settings, self.twins: True}, self.twins)


def _labelled(key: str, value: Any) -> str:
    if value is True:
        return _last(key)
    is_named = isinstance(value, (str, list, dict))
    return _word(value) if is_named else f"{_last(key)} {_word(value)}"


def _word(value: Any) -> str:
    if isinstance(value, dict):
        return str(value.get("name", value))
    return " & ".join(map(str, value)) if isinstance(value, list) else str(value)


def _last(key: str) -> str:
    return key.rpartition(".")[2]
