"""Extension points: dropping a file into a folder registers the component it defines.

A component is named by its file. `{name: root, start: 0.1}` in params.yaml becomes the class that
`pacing/root.py` defines, with `start` checked against its typed fields. Component files import torch inside
their methods, so that a wrong parameter file is refused before anything heavy is loaded.
"""

import ast
import difflib
import importlib
import pkgutil
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, ClassVar, Generic, Literal, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)

from bss.errors import InputError

T = TypeVar("T")
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")]
MethodName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_]*$")]
"""Without a hyphen, so that METHOD-SCHEDULER-SEED names one cell."""
Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]


def _count_or_auto(value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
    """One message for both that are allowed."""
    try:
        return handler(value)
    except ValidationError:
        raise InputError(f"{value!r}: expected a whole number of at least 1, or auto") from None


CountOrAuto = Annotated[Count | Literal["auto"], WrapValidator(_count_or_auto)]
"""A number, or `auto`: what the machine has decides."""


class UnknownName(InputError):
    """A name that is not among the known ones; the message lists them and the nearest match."""

    def __init__(self, kind: str, name: object, known: Iterable[str]) -> None:
        known = sorted(known)
        near = difflib.get_close_matches(str(name), known, n=1, cutoff=0.5)
        hint = f"; did you mean '{near[0]}'?" if near else ""
        super().__init__(f"unknown {kind} '{name}'{hint} (known: {', '.join(known)})")


def lookup(kind: str, name: str, known: Mapping[str, T]) -> T:
    """The value of a name.

    Raises:
        UnknownName: there is none.
    """
    if name not in known:
        raise UnknownName(kind, name, known)
    return known[name]


class Strict(BaseModel):
    """Typed, frozen values: an unknown key, a wrong type or a value out of range is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _keys_are_known(cls, values: object) -> object:
        for key in values if isinstance(values, dict) else ():
            if key not in cls.model_fields:
                raise UnknownName("key", key, cls.model_fields)
        return values


class Component(Strict):
    """The hyper-parameters of something that a name selects; what runs is built from them later."""

    example: ClassVar[Mapping[str, Any]] = {}
    """Small values for the fields that have no default: the contract tests build the component from them."""

    @property
    def name(self) -> str:
        """The registered name: that of the file that defines the class."""
        return type(self).__module__.rpartition(".")[2]


def spec(component: Component) -> dict[str, Any]:
    """What `Registry.build` makes the same component of: its name, and the fields that are not at their defaults."""
    return {"name": component.name, **component.model_dump(exclude_defaults=True)}


class Registry(Generic[T]):
    """The components of type `base` that the modules of one package define, one a module.

    The module of `base` and those whose names begin with `_` are no components; every other module holds exactly one.
    """

    def __init__(self, kind: str, package: str, base: type[T]) -> None:
        self.kind, self.package, self.base = kind, package, base

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __getitem__(self, name: str) -> Any:
        """The component of that name: a class where components are classes, else the object itself.

        Raises:
            UnknownName: there is no such file.
            TypeError: the file does not define exactly one component.
        """
        if name not in self._names:
            raise UnknownName(self.kind, name, self)
        module = importlib.import_module(f"{self.package}.{name}")
        own = (value for value in vars(module).values() if getattr(value, "__module__", None) == module.__name__)
        found = [value for value in own if self._is_component(value)]
        if len(found) != 1:
            raise TypeError(f"{module.__file__} defines {len(found)} components, and should define one {self.kind}")
        return found[0]

    def example(self, name: str, **fields: object) -> Any:
        """A small component of that name, for a test: its example, with other fields over it."""
        return self.build({"name": name, **self[name].example, **fields})

    def every(self, named: Any) -> Any:
        """The specs that are given, and with its defaults every component that they do not name.

        One with a field that has no default is there only where it is named. What is no mapping stays as it is.
        """
        if not isinstance(named, Mapping):
            return named
        fields = {name: self[name].model_fields.values() for name in self if name not in named}
        complete = [name for name in fields if not any(field.is_required() for field in fields[name])]
        return {**named, **{name: {"name": name} for name in complete}}

    def sources(self, name: str) -> list[Path]:
        """The files that a component is made of: its own, and those of the folder that it imports, by name.

        Raises:
            UnknownName: there is no such file.
        """
        if name not in self._names:
            raise UnknownName(self.kind, name, self)
        (folder,) = map(Path, importlib.import_module(self.package).__path__)
        found, todo = set[Path](), [folder / f"{name}.py"]
        while todo:
            found.add(file := todo.pop())
            nodes = ast.walk(ast.parse(file.read_text(encoding="utf-8")))
            modules = {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module}
            inside = {Path(folder, f"{module.rpartition('.')[2]}.py") for module in modules if self._holds(module)}
            todo += inside - found
        return sorted(found)

    def _holds(self, module: str) -> bool:
        return module.rpartition(".")[0] == self.package

    def build(self, spec: object) -> Any:
        """A checked component from its name, from a mapping with `name`, or from the component itself."""
        if isinstance(spec, self.base):
            return spec
        spec = {"name": spec} if isinstance(spec, str) else spec
        if not isinstance(spec, dict) or not isinstance(spec.get("name"), str):
            known = ", ".join(self)
            raise InputError(f"a {self.kind} is a name, or a mapping with the key 'name' (known: {known})")
        return self[spec["name"]](**{key: value for key, value in spec.items() if key != "name"})

    @cached_property
    def _names(self) -> list[str]:
        path = importlib.import_module(self.package).__path__
        modules = (module.name for module in pkgutil.iter_modules(path) if not module.ispkg)
        contract = self.base.__module__.rpartition(".")[2]
        return sorted(name for name in modules if not name.startswith("_") and name != contract)

    def _is_component(self, value: object) -> bool:
        return issubclass(value, self.base) if isinstance(value, type) else isinstance(value, self.base)
