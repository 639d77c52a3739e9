"""The rules of docs/architecture.md that a program can check, by their numbers there."""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest

from bss.curriculum.acquisitions.acquisition import ACQUISITIONS
from bss.curriculum.pacing.pacing import PACINGS
from bss.curriculum.schedulers.scheduler import SCHEDULERS
from bss.data.datasets.dataset import DATASETS
from bss.data.kinds.kind import KINDS
from bss.encoders.encoder import ENCODERS
from bss.encoders.fusions.fusion import FUSIONS
from bss.measure.criteria.criterion import CRITERIA
from bss.registry import Registry
from bss.training.loggers.logger import LOGGERS
from bss.training.methods.method import METHODS
from bss.training.objectives.objective import OBJECTIVES
from tests.helpers import ROOT

PRODUCT = sorted(path for part in ("src/bss", "flows", "tasks") for path in (ROOT / part).rglob("*.py"))
REGISTRIES: tuple[Registry[Any], ...] = (DATASETS, KINDS, ENCODERS, FUSIONS, CRITERIA, PACINGS, SCHEDULERS)
REGISTRIES += (ACQUISITIONS, METHODS, OBJECTIVES, LOGGERS)
COMPONENTS = {path for registry in REGISTRIES for name in registry for path in registry.sources(name)}
"""A component is called as params.yaml calls it."""
CALLBACKS = set((ROOT / "src/bss/integrations").glob("[!_]*.py"))
"""A module is called after the trainer that its callback is for, and all callbacks alike."""


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


# 2

MAX_MODULES = 12
NO_LIMIT = {
    "src/bss": "the root holds the leaves",
    **{relative(path.parent): "an extension point" for path in COMPONENTS},
    "src/bss/evaluation/report": "an extension point: a section a file",
    "src/bss/training": "one loop in parts, and the settings, of which none is used without the others",
}


def test_a_folder_that_is_no_extension_point_has_few_modules() -> None:
    sizes = Counter(relative(path.parent) for path in PRODUCT if path.name != "__init__.py")
    assert {folder for folder, size in sizes.items() if size > MAX_MODULES} <= NO_LIMIT.keys()


# 3

PLACE = re.compile(r"(data|models|reports)/[\w.*/{}-]*|params\.yaml|dvc\.lock")
SPELLED_ELSEWHERE = {
    "src/bss/paths.py": "the one place",
    "src/bss/data/datasets/digits.py": "the sample that comes with the project, a default of the data set",
    "src/bss/data/datasets/_fetch.py": "raw data, before there is a workspace",
    "src/bss/evaluation/diff/sections.py": "the title of a table",
    "src/bss/commands/fetch.py": "works without a workspace",
    "src/bss/commands/preset.py": "works without a workspace",
}


def test_only_paths_spells_where_things_lie() -> None:
    spelled = {
        relative(path)
        for path in PRODUCT
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and PLACE.fullmatch(node.value)
    }
    assert spelled <= SPELLED_ELSEWHERE.keys()


# 4


def test_no_public_class_name_occurs_twice() -> None:
    names = Counter(
        node.name
        for path in PRODUCT
        if path not in COMPONENTS | CALLBACKS
        for node in tree(path).body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    )
    assert [name for name, number in names.items() if number > 1] == []


# 5

BANNED = {"told", "said"}


def bound(path: Path) -> Iterator[str]:
    for node in ast.walk(tree(path)):
        match node:
            case ast.Name(id=name, ctx=ast.Store()) | ast.arg(arg=name):
                yield name
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                yield name.strip("_")
            case ast.alias(asname=str(name)):
                yield name


@pytest.mark.parametrize("part", ["src/bss", "flows", "tasks", "tests"])
def test_no_vague_word_names_anything(part: str) -> None:
    vague = {relative(path): BANNED & {*bound(path)} for path in (ROOT / part).rglob("*.py")}
    assert {path: names for path, names in vague.items() if names} == {}


# 6


def test_no_module_is_called_like_an_installed_package() -> None:
    """Where it is, `import` in a script beside it would take ours. Components are called after what they wrap."""
    packages = {*packages_distributions()} - {"bss", "tasks", "flows", "tests"}
    modules = {
        path.stem: path for path in PRODUCT if path not in COMPONENTS | CALLBACKS and not path.stem.startswith("_")
    }
    assert sorted(packages & modules.keys()) == []


# 7

MAX_LINES = 30


def test_the_body_of_a_stage_is_short() -> None:
    for path in sorted((ROOT / "tasks").glob("[a-z]*.py")):
        (stage,) = (node for node in tree(path).body if isinstance(node, ast.FunctionDef) and node.name == path.stem)
        first, *_, last = stage.body
        assert (last.end_lineno or 0) - first.lineno < MAX_LINES, relative(path)


# The environment


def test_a_variable_of_the_environment_is_spelled_once_and_stands_in_the_table() -> None:
    spelled = Counter(
        node.value
        for path in PRODUCT
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and re.fullmatch(r"BSS_[A-Z_]+", node.value)
    )
    table = re.findall(r"^\| `(BSS_\w+)`", (ROOT / "docs/prefect.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert spelled == Counter(table)
