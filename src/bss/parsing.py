"""Files in YAML: their plain values, and what a schema finds wrong with them."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError

from bss.errors import InputError
from bss.registry import Strict, UnknownName, lookup

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


_PLAIN = [
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?(0b[01_]+|0o[0-7_]+|[0-9_]+|0x[0-9a-fA-F_]+)", "-+0123456789"),
    (
        "float",
        r"[-+]?([0-9][0-9_]*\.[0-9_]*([eE][-+]?[0-9]+)?|[0-9][0-9_]*[eE][-+]?[0-9]+|\.[0-9_]+([eE][-+][0-9]+)?"
        r"|\.(inf|Inf|INF))|\.(nan|NaN|NAN)",
        "-+.0123456789",
    ),
    (
        "timestamp",
        r"\d{4}-\d\d-\d\d|\d{4}-\d\d?-\d\d?([Tt]|[ \t]+)\d\d?:\d\d:\d\d(\.\d*)?([ \t]*(Z|[-+]\d\d?(:\d\d)?))?",
        "0123456789",
    ),
    ("merge", "<<", "<"),
    ("value", "=", "="),
    ("null", "~|null|Null|NULL|", ["~", "n", "N", ""]),
]
"""What is no text in YAML 1.2, as DVC reads it: `010` is ten and `on` a text, where YAML 1.1 has eight and true."""
_RESOLVERS = {
    first: [
        (f"tag:yaml.org,2002:{kind}", re.compile(f"(?:{form})$")) for kind, form, firsts in _PLAIN if first in firsts
    ]
    for first in {first for _, _, firsts in _PLAIN for first in firsts}
}
_SafeLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_SafeLoader):  # type: ignore[misc]
    yaml_implicit_resolvers = _RESOLVERS

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        """A whole number; only a prefix makes it one of another base than ten."""
        text = node.value.replace("_", "").lower()
        digits = text.lstrip("+-")
        base = {"0b": 2, "0o": 8, "0x": 16}.get(digits[:2], 10)
        return (-1 if text.startswith("-") else 1) * int(digits if base == 10 else digits[2:], base)


class _Dumper(yaml.SafeDumper):
    """Quotes what YAML 1.2 would take for something else than text."""

    yaml_implicit_resolvers = _RESOLVERS


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_yaml_int)


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


def dumped(values: Mapping[str, Any], *, on_one_line: bool = False) -> str:
    """Plain values as a text in YAML, which `parsed` and DVC read back alike.

    Args:
        values: keys with their values.
        on_one_line: whether each key has one line, whatever its value holds.
    """
    if on_one_line:
        texts = (_dump({key: value}, default_flow_style=True, width=1 << 20) for key, value in values.items())
        return "".join(f"{text.strip()[1:-1]}\n" for text in texts)  # without the braces around the key
    return _dump(dict(values))


def _dump(values: dict[str, Any], **style: Any) -> str:
    return str(yaml.dump(values, Dumper=_Dumper, sort_keys=False, allow_unicode=True, **style))


def setting(text: str) -> tuple[str, Any]:
    """The dotted key and the value of `key=value`, the value in YAML.

    Raises:
        InputError: there is no "=", or the value is no YAML.
    """
    key, equals, value = text.partition("=")
    if not equals or not re.fullmatch(r"[\w-]+(\.[\w-]+)*", key):
        raise InputError(f"{text!r}: expected key=value, for example train.epochs=20")
    try:
        return key, parsed(value)
    except yaml.YAMLError as error:
        raise InputError(f"{text!r}: the value is no YAML") from error


def assign(values: Any, key: str, value: Any, *, may_add: bool = False) -> None:
    """Give nested mappings another value at a dotted key, whose last part may be new where `may_add`.

    Raises:
        UnknownName: a key is not there.
        InputError: what stands above it has no keys.
    """
    *above, last = key.split(".")
    section = values
    for depth, part in enumerate([*above, last]):
        if not isinstance(section, Mapping):
            raise InputError(f"{key}: {'.'.join(above[:depth])} is {section!r}, which has no keys")
        if depth < len(above):
            section = lookup("key", part, section)
    if last not in section and not may_add:
        raise UnknownName("key", key, [".".join([*above, name]) for name in section])
    section[last] = value


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
