"""dvc.yaml against the code: a stage that uses a file it does not name would serve stale results."""

import ast
from pathlib import Path
from typing import Any

import pytest
import yaml

from bss.paths import HERE, Cell
from tests.helpers import ROOT

STAGES: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
# Leaves without arithmetic; params, settings and parsing only let values through, which all stand in params.yaml.
NEUTRAL = {"errors", "exits", "locks", "params", "settings", "parsing", "paths", "files"}
NEUTRAL |= {"memory", "progress", "types", "registry", "search", "wording"}
# What a registry resolves at run time, by the name that asks for it.
REGISTRIES = {
    "DATASETS": "data",
    "ENCODERS": "encoders",
    "FUSIONS": "encoders/fusions",
    "CRITERIA": "measure/criteria",
    "PACINGS": "curriculum/pacing",
    "SCHEDULERS": "curriculum/schedulers",
    "METHODS": "training/methods",
    "OBJECTIVES": "training/objectives",
}
SECTIONS = {
    "preprocess": "data",
    "encoders": "encoders",
    "fusion": "encoders/fusions",
    "curriculum": "curriculum/schedulers",
}


FREE = {"flow", "max_parallel"}
"""What changes no result, but for the threads that `runtime.threads: auto` leaves to a stage."""
VIA_METHODS = {"methods"}
"""Comes to a cell by the file of its method."""


def acquires(stage: dict[str, Any]) -> bool:
    return any(dep.startswith("data/acquisitions/") for dep in stage["deps"])


def by_method(stage: dict[str, Any]) -> bool:
    return any(dep.startswith("data/methods/") for dep in stage["deps"])


def sections(start: Path) -> set[str]:
    """The sections of params.yaml that a stage reads: in its own file, and where it hands all parameters on."""
    found, todo, seen = set[str](), [ast.parse(start.read_text())], set[str]()
    while todo:
        tree = todo.pop()
        imported = {
            (alias.asname or alias.name): f"{node.module}.{alias.name}"
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and node.module
            for alias in node.names
        }
        found |= named_sections(tree)
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and "params" in map(ast.unparse, node.args):
                name = imported.get(ast.unparse(node.func), "")
                if name.startswith("bss.") and name not in seen and (path := module_file(name)) is not None:
                    seen.add(name)
                    todo += functions(path, name.rpartition(".")[2])
    return found


def named_sections(tree: ast.AST) -> set[str]:
    attributes = (node for node in ast.walk(tree) if isinstance(node, ast.Attribute))
    named = {node.attr for node in attributes if ast.unparse(node.value) in {"params", "tasks.params()"}}
    return named - {"cells", "alone", "model_dump"}


def functions(path: Path, name: str) -> list[ast.AST]:
    """A function of a module, and those of that module that it calls."""
    known = {node.name: node for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef)}
    found, todo = dict[str, ast.AST](), [name]
    while todo:
        if (called := todo.pop()) in known and called not in found:
            found[called] = known[called]
            calls = (node for node in ast.walk(known[called]) if isinstance(node, ast.Call))
            todo += [ast.unparse(node.func) for node in calls]
    return list(found.values())


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
ACQUISITIONS = ROOT / "src/bss/curriculum/acquisitions"
"""Likewise, what a round uses of it; but what its files import from elsewhere is not."""


def used(start: Path, *, acquires: bool = False) -> set[Path]:
    """Every library file that a task reaches, and the folder of every registry that it asks."""
    library = ROOT / "src" / "bss"
    reached: set[Path] = set()
    todo = [start]
    reached |= {library / SECTIONS[name] for name in named_sections(ast.parse(start.read_text())) & SECTIONS.keys()}
    while todo:
        for name in names(todo.pop()):
            path = module_file(name)
            asked = name.rpartition(".")[2]
            reached |= {library / REGISTRIES[asked]} if asked in REGISTRIES else set()
            if path is not None and path not in reached and path.stem not in NEUTRAL:
                reached.add(path)
                todo += ACQUISITIONS.glob("*.py") if acquires and path.parent == ACQUISITIONS else [path]
    return reached


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_names_every_file_it_uses(name: str) -> None:
    stage = STAGES[name]
    named = [ROOT / dep for dep in stage["deps"] if "$" not in dep]
    named += [BY_CONTENT] if by_method(stage) else []
    named += [ACQUISITIONS] if acquires(stage) else []
    assert task(stage) in named
    for path in used(task(stage), acquires=acquires(stage)):
        assert any(path == dep or dep in path.parents for dep in named), f"{name} uses {path.relative_to(ROOT)}"


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_names_no_code_it_does_not_use(name: str) -> None:
    reached = used(task(STAGES[name]), acquires=acquires(STAGES[name])) | {task(STAGES[name])}
    for dep in STAGES[name]["deps"]:
        if dep.startswith(("src", "tasks")):
            path = ROOT / dep
            assert path.exists(), dep
            assert any(file == path or path in file.parents or file in path.parents for file in reached), dep


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_depends_on_every_section_it_reads(name: str) -> None:
    stage = STAGES[name]
    tracked = {param.split(".")[0] for param in stage["params"] if isinstance(param, str)}
    read = sections(task(stage)) - FREE - (VIA_METHODS if by_method(stage) else set())
    assert read <= tracked or {"params.yaml": None} in stage["params"], read - tracked


def test_what_changes_no_result_has_a_section_of_its_own() -> None:
    for stage in STAGES.values():
        tracked = [param for param in stage["params"] if isinstance(param, str)]
        assert not FREE & {param.split(".")[0] for param in tracked}
        assert not [param for param in tracked if param.startswith(("runtime.", "spread."))]
    assert not [param for param in STAGES["train"]["params"] if param.startswith("train.")]


def test_the_artifacts_lie_where_the_stages_say() -> None:
    outs = {str(out) for stage in STAGES.values() for out in stage.get("outs", [])}
    key, seed = "${key}", "${item.seed}"
    cell = Cell("joint", "heuristic", 0)
    for path, template in {
        HERE.packed / "train": "data/packed/train",
        HERE.report: "reports/report.html",
        HERE.summary("txt"): "reports/summary.txt",
        HERE.warmup(0): f"models/warmup/{seed}",
        HERE.scores(0): f"data/scores/{seed}.parquet",
        HERE.curriculum("heuristic", 0): f"data/curricula/{key}",
        HERE.run(cell): f"models/runs/{key}",
        HERE.predictions(cell): f"reports/predictions/{key}",
    }.items():
        assert template in outs
        values = {"warmup": "0", "scores": "0", "curricula": "heuristic-0"}
        filled = template.replace(key, values.get(path.parent.name, "joint-heuristic-0")).replace(seed, "0")
        assert Path(filled) == path
    assert HERE.metrics(cell) == Path("reports/metrics/joint-heuristic-0.json")
    assert STAGES["evaluate"]["metrics"] == [{f"reports/metrics/{key}.json": {"cache": False}}]


def test_only_evaluation_depends_on_the_test_split() -> None:
    holders = [name for name, stage in STAGES.items() if "data/packed/test" in stage["deps"]]
    by_test = ["evaluate-by-test", "evaluate-by-test-alone"]
    assert holders == ["evaluate", "evaluate-alone", *by_test, "evaluate-active"]


def test_no_stage_reads_what_was_chosen_on_test() -> None:
    outs = {"reports/by_test", "models/epochs"}
    for name, stage in STAGES.items():
        assert not [dep for dep in stage["deps"] if any(dep.startswith(out) for out in outs)], name
    readers = {
        path.relative_to(ROOT).as_posix()
        for folder in ("src", "tasks", "flows")
        for path in (ROOT / folder).rglob("*.py")
        if "by_test(" in path.read_text() and "def by_test(" not in path.read_text()
    }
    assert readers == {"tasks/evaluate_by_test.py", "src/bss/evaluation/reproduction/reader.py"}
