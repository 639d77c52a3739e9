"""The fields of a component, as its class has them: their defaults, and what is written below them."""

import ast
import inspect
import textwrap
from itertools import pairwise
from typing import Any, NamedTuple

from bss.registry import Component


class Setting(NamedTuple):
    """A field of a component."""

    name: str
    default: str
    meaning: str
    """What its docstring says; empty where it has none."""


def settings(component: type[Component]) -> tuple[Setting, ...]:
    """All fields of a component, those of its bases first."""
    meanings: dict[str, str] = {}
    for kind in reversed(component.__mro__):
        if issubclass(kind, Component):
            meanings |= _meanings(kind)
    found = []
    for name, field in component.model_fields.items():
        default = "must be set" if field.is_required() else _shown(field.get_default(call_default_factory=True))
        found.append(Setting(name, default, meanings.get(name, "")))
    return tuple(found)


def _meanings(kind: type) -> dict[str, str]:
    """Field -> the string below it."""
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    lines = definition.body if isinstance(definition, ast.ClassDef) else []
    found = {}
    for field, below in pairwise(lines):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(below, ast.Expr):
            value = below.value
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                found[field.target.id] = " ".join(inspect.cleandoc(value.value).split())
    return found


def _shown(value: Any) -> str:
    """As params.yaml has it."""
    if isinstance(value, Component):
        values = {"name": value.name, **value.model_dump()}
        return f"{{{', '.join(f'{name}: {_shown(each)}' for name, each in values.items())}}}"
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(_shown, value))}]"
    return {"True": "true", "False": "false", "None": "none"}.get(str(value), str(value))
