"""dvc.yaml against the code: a stage that uses a file it does not name would serve stale results."""

import ast
from pathlib import Path
from typing import Any

import pytest
import yaml

from bss import paths
from tests.helpers import ROOT

STAGES: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
# Leaves without arithmetic; params.py and parsing.py only let values through, and all of them stand in params.yaml.
NEUTRAL = {"params", "parsing", "paths", "files", "memory", "progress", "types", "registry"}
# What a registry resolves at run time, by the name that asks for it.
REGISTRIES = {
    "DATASETS": "data",
    "ENCODERS": "encoders",
    "FUSIONS": "encoders/fusions",
    "CRITERIA": "measure/criteria",
    "PACINGS": "curriculum/pacing",
    "SCHEDULERS": "curriculum/schedulers",
    "METHODS": "training/methods",
}
SECTIONS = {
    "preprocess": "data",
    "encoders": "encoders",
    "fusion": "encoders/fusions",
    "curriculum": "curriculum/schedulers",
    "methods": "training/methods",
}


def task(stage: dict[str, Any]) -> Path:
    module = stage["cmd"].split()[2]
    assert stage["cmd"].startswith("python -m tasks.")
    return ROOT / f"{module.replace('.', '/')}.py"


def names(path: Path) -> set[str]:
    """Names imported from bss that run (not for types alone), as `bss.module.name`."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "bss":
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def module_file(name: str) -> Path | None:
    """The file of `bss.module` or of the module that holds `bss.module.name`."""
    for parts in (name.split("."), name.split(".")[:-1]):
        path = ROOT / "src" / "/".join(parts)
        if path.with_suffix(".py").is_file():
            return path.with_suffix(".py")
    return None


BY_CONTENT = ROOT / "src/bss/training"
"""What a cell uses of it is watched by way of the stage `methods`."""


def used(start: Path) -> set[Path]:
    """Every library file that a task reaches, and the folder of every registry that it asks."""
    library = ROOT / "src" / "bss"
    reached: set[Path] = set()
    todo = [start]
    for node in ast.walk(ast.parse(start.read_text())):
        if isinstance(node, ast.Attribute) and ast.unparse(node.value).startswith(("params", "tasks.params()")):
            reached |= {library / SECTIONS[node.attr]} if node.attr in SECTIONS else set()
    while todo:
        for name in names(todo.pop()):
            path = module_file(name)
            asked = name.rpartition(".")[2]
            reached |= {library / REGISTRIES[asked]} if asked in REGISTRIES else set()
            if path is not None and path not in reached and path.stem not in NEUTRAL:
                reached.add(path)
                todo.append(path)
    return reached


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_names_every_file_it_uses(name: str) -> None:
    stage = STAGES[name]
    named = [ROOT / dep for dep in stage["deps"] if "$" not in dep]
    named += [BY_CONTENT] if any(dep.startswith("data/methods/") for dep in stage["deps"]) else []
    assert task(stage) in named
    for path in used(task(stage)):
        assert any(path == dep or dep in path.parents for dep in named), f"{name} uses {path.relative_to(ROOT)}"


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_names_no_code_it_does_not_use(name: str) -> None:
    reached = used(task(STAGES[name])) | {task(STAGES[name])}
    for dep in STAGES[name]["deps"]:
        if dep.startswith(("src", "tasks")):
            path = ROOT / dep
            assert path.exists(), dep
            assert any(file == path or path in file.parents or file in path.parents for file in reached), dep


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_depends_on_every_section_it_reads(name: str) -> None:
    stage = STAGES[name]
    tracked = {param.split(".")[0] for param in stage["params"] if isinstance(param, str)}
    read = {
        node.attr
        for node in ast.walk(ast.parse(task(stage).read_text()))
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) in {"params", "tasks.params()"}
    }
    assert read <= tracked or {"params.yaml": None} in stage["params"], read - tracked


def test_the_artifacts_lie_where_the_stages_say() -> None:
    outs = {str(out) for stage in STAGES.values() for out in stage["outs"]}
    key, seed = "${key}", "${item.seed}"
    cell = ("joint", "heuristic", 0)
    for path, template in {
        paths.PACKED / "train": "data/packed/train",
        paths.REPORT: "reports/report.html",
        paths.SUMMARY.with_suffix(".txt"): "reports/summary.txt",
        paths.warmup(0): f"models/warmup/{seed}",
        paths.scores(0): f"data/scores/{seed}.parquet",
        paths.curriculum("heuristic", 0): f"data/curricula/{key}",
        paths.run(*cell): f"models/runs/{key}",
        paths.predictions(*cell): f"reports/predictions/{key}",
    }.items():
        assert template in outs
        values = {"warmup": "0", "scores": "0", "curricula": "heuristic-0"}
        filled = template.replace(key, values.get(path.parent.name, "joint-heuristic-0")).replace(seed, "0")
        assert Path(filled) == path
    assert paths.metrics(*cell) == Path("reports/metrics/joint-heuristic-0.json")
    assert STAGES["evaluate"]["metrics"] == [{f"reports/metrics/{key}.json": {"cache": False}}]


def test_only_evaluation_depends_on_the_test_split() -> None:
    holders = [name for name, stage in STAGES.items() if "data/packed/test" in stage["deps"]]
    assert holders == ["evaluate", "evaluate-alone"]
