"""The contract of the extension points, over every component there is."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

import bss
from bss.curriculum.acquisitions.acquisition import ACQUISITIONS
from bss.curriculum.pacing.pacing import PACINGS, Pacing
from bss.curriculum.schedulers.scheduler import SCHEDULERS
from bss.data.datasets.dataset import DATASETS
from bss.data.kinds.kind import KINDS
from bss.encoders.encoder import ENCODERS
from bss.encoders.fusions.fusion import FUSIONS
from bss.measure.criteria.criterion import CRITERIA
from bss.registry import Component, Registry, UnknownName
from bss.training.loggers.logger import LOGGERS
from bss.training.methods.method import METHODS
from bss.training.objectives.objective import OBJECTIVES

REGISTRIES: list[Registry[Any]] = [
    DATASETS,
    KINDS,
    ENCODERS,
    FUSIONS,
    CRITERIA,
    PACINGS,
    SCHEDULERS,
    ACQUISITIONS,
    METHODS,
    OBJECTIVES,
    LOGGERS,
]
COMPONENTS = [
    pytest.param(registry, name, id=f"{registry.kind}-{name}") for registry in REGISTRIES for name in registry
]


@pytest.mark.parametrize(("registry", "name"), COMPONENTS)
def test_every_file_defines_one_documented_component(registry: Registry[Any], name: str) -> None:
    component = registry[name]
    assert component.__doc__
    assert sys.modules[component.__module__].__doc__
    if registry is CRITERIA:
        assert component.direction in {-1, 1}
        assert component.__name__ == name
    else:
        assert issubclass(component, Component)


@pytest.mark.parametrize(("registry", "name"), [c for c in COMPONENTS if c.values[0] is not CRITERIA])
def test_fields_are_typed_frozen_and_refuse_the_unknown(registry: Registry[Any], name: str) -> None:
    spec = {"name": name, **registry[name].example}
    component = registry.build(spec)
    assert component.name == name
    assert registry.build(spec) == component == registry.build(component)
    with pytest.raises(ValidationError, match="unknown key 'no_such_field'"):
        registry.build({**spec, "no_such_field": 1})
    for field in type(component).model_fields:
        with pytest.raises(ValidationError, match="frozen"):
            setattr(component, field, None)
        with pytest.raises(ValidationError):
            registry.build({**spec, field: object()})


def test_every_scheduler_is_public_by_its_file() -> None:
    for name in SCHEDULERS:
        scheduler = SCHEDULERS[name]
        assert scheduler.__name__ == name.title().replace("_", "")
        assert scheduler.__name__ in bss.__all__
        assert getattr(bss, scheduler.__name__) is scheduler
    with pytest.raises(AttributeError, match="module 'bss' has no attribute 'Heuristics'"):
        _ = bss.Heuristics


@pytest.mark.parametrize("registry", REGISTRIES, ids=lambda registry: registry.kind)
def test_an_unknown_name_is_answered_with_the_known_ones(registry: Registry[Any]) -> None:
    known = next(iter(registry))
    with pytest.raises(UnknownName, match=f"did you mean '{known}'.*known: .*{known}"):
        registry[known + "x"]


@pytest.mark.parametrize("spec", [3, None, {"start": 0.1}, {"name": 3}, ["root"]])
def test_a_spec_that_names_nothing_is_refused(spec: object) -> None:
    with pytest.raises(ValueError, match="a pacing is a name, or a mapping with the key 'name'"):
        PACINGS.build(spec)


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = tmp_path / "dropped"
    folder.mkdir()
    (folder / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    yield folder
    for name in [name for name in sys.modules if name.split(".")[0] == "dropped"]:
        del sys.modules[name]


CUBIC = """
from bss.curriculum.pacing.pacing import Pacing
from bss.curriculum.pacing.root import Root

class Cubic(Pacing):
    power: int = 3
    def __call__(self, progress: float) -> float:
        return self.start + (1 - self.start) * progress ** self.power
"""


def test_dropping_a_file_registers_it(package: Path) -> None:
    (package / "cubic.py").write_text(CUBIC)
    registry = Registry("pacing", "dropped", Pacing)
    assert list(registry) == ["cubic"]
    assert registry.build({"name": "cubic", "start": 0.5})(1.0) == 1.0
    with pytest.raises(ValidationError, match="start"):
        registry.build({"name": "cubic", "start": 2.0})


@pytest.mark.parametrize(("text", "count"), [("x = 1\n", 0), (CUBIC + "class Other(Cubic): ...\n", 2)])
def test_a_file_with_none_or_two_components_is_named(package: Path, text: str, count: int) -> None:
    (package / "cubic.py").write_text(text)
    with pytest.raises(TypeError, match=rf"cubic\.py defines {count} components, and should define one pacing"):
        Registry("pacing", "dropped", Pacing)["cubic"]


def test_a_component_is_made_of_its_file_and_those_beside_it_that_it_imports() -> None:
    sources = {name: {file.name for file in METHODS.sources(name)} for name in METHODS}
    assert sources["unimodal"] == {"unimodal.py", "method.py"}
    assert sources["ogm"] == {"ogm.py", "joint.py", "method.py", "_contribution.py"}
    with pytest.raises(UnknownName, match="unknown training method 'ogmm'; did you mean 'ogm'"):
        METHODS.sources("ogmm")
