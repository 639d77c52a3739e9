"""Files in YAML: their plain values, and what a schema finds wrong with them."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError

from bss.errors import InputError
from bss.registry import Strict

S = TypeVar("S", bound=Strict)


def read_mapping(path: Path) -> dict[str, Any]:
    """The plain values of a YAML file.

    Raises:
        InputError: the file is missing, or not a mapping in YAML.
    """
    try:
        raw = parsed(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file; run in the folder that holds params.yaml") from error
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(raw, dict):
        what = "it is empty" if raw is None else f"{raw!r:.50}"
        raise InputError(f"{path}: {what}: expected keys with values")
    return raw


_SafeLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_SafeLoader):  # type: ignore[misc]
    """Numbers as YAML 1.2 has them: DVC writes `1e-05`, and to YAML 1.1 that is text."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)


def parsed(text: str) -> Any:
    """The plain values of a text in YAML.

    Raises:
        YAMLError: it is none, or names something that is no plain value.
    """
    loader = _Loader(text)
    try:
        return loader.get_single_data()
    finally:
        loader.dispose()


def checked(raw: Mapping[str, Any], schema: type[S], origin: Path) -> S:
    """The values as a schema has them.

    Raises:
        InputError: one line a fault: where it came from, the key, the value and what would be allowed.
    """
    try:
        return schema.model_validate(raw)
    except ValidationError as error:
        raise InputError("\n".join(f"{origin}: {fault}" for fault in faults(error))) from None


def faults(error: ValidationError, above: tuple[int | str, ...] = ()) -> list[str]:
    """A line a fault: the key, the value and what would be allowed."""
    found = []
    for fault in error.errors(include_url=False):
        location = (*above, *fault["loc"])
        cause = fault.get("ctx", {}).get("error")
        if isinstance(cause, ValidationError):
            found += faults(cause, location)
        elif isinstance(cause, ValueError):
            found.append(f"{_key(location)}{cause}")
        elif fault["type"] == "missing":
            found.append(f"{_key(location)}is missing; every value stands in the file")
        else:
            found.append(f"{_key(location)}{fault['input']!r}: {fault['msg']}")
    return found


def _key(location: tuple[int | str, ...]) -> str:
    return f"{'.'.join(map(str, location))}: " if location else ""
