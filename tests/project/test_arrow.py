"""One direction of imports: a folder imports itself, what stands to its left, and the leaves."""

import ast
import re
from pathlib import Path

import pytest

from bss.data.datasets.dataset import DATASETS
from tests.helpers import ROOT

LIBRARY = ROOT / "src" / "bss"
ARROW = ["data", "encoders", "model", "measure", "curriculum", "training", "evaluation"]
LEAVES = {
    "errors",
    "exits",
    "fields",
    "files",
    "health",
    "locks",
    "memory",
    "params",
    "parsing",
    "paths",
    "progress",
    "registry",
    "search",
    "seeds",
}
LEAVES |= {"types", "wording"}
FLOWS = ["revisions", "workspace", "graph", "machines", "studies", "pages", "commands"]


def imported(path: Path) -> set[str]:
    """Every `bss` module that a file imports, at its top or inside a function."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return {name for name in names if name.split(".")[0] in {"bss", "tasks", "flows"}}


def folders(path: Path) -> set[str]:
    return {name.split(".")[1] for name in imported(path) if name.startswith("bss.")}


@pytest.mark.parametrize("folder", ARROW)
def test_a_folder_imports_only_what_stands_to_its_left(folder: str) -> None:
    allowed = set(ARROW[: ARROW.index(folder) + 1]) | LEAVES
    for path in [LIBRARY / f"{folder}.py", *(LIBRARY / folder).rglob("*.py")]:
        if not path.exists():
            continue
        assert not {name for name in folders(path) & {*ARROW, *LEAVES} if name not in allowed}, path


def test_every_module_of_the_root_has_its_place() -> None:
    """A leaf, a part of the arrow, or what stands above it: a preset is laid over all of params.yaml."""
    modules = {path.stem for path in LIBRARY.glob("*.py")}
    assert modules == LEAVES | (set(ARROW) & modules) | {"__init__", "__main__", "preset"}


def test_integrations_stand_on_what_is_public() -> None:
    """And nothing of the library stands on them."""
    for path in (LIBRARY / "integrations").glob("*.py"):
        names = {name for name in imported(path) if name.split(".")[1:2] and name.split(".")[1] in ARROW}
        assert names <= {"bss.curriculum.schedulers.scheduler", "bss.curriculum.schedulers.scheduler.Scheduler"}, path
    assert not [path for path in LIBRARY.rglob("*.py") if "integrations" in folders(path) - {path.parent.name}]


def test_the_library_knows_neither_stages_nor_flows() -> None:
    for path in LIBRARY.rglob("*.py"):
        assert all(name.split(".")[0] == "bss" for name in imported(path)), path


@pytest.mark.parametrize("folder", FLOWS)
def test_a_folder_of_flows_imports_only_what_stands_to_its_left(folder: str) -> None:
    allowed = set(FLOWS[: FLOWS.index(folder) + 1])
    for path in (ROOT / "flows" / folder).rglob("*.py"):
        known = {name.split(".")[1] for name in imported(path) if name.startswith("flows.")}
        assert known <= allowed, path


def test_flows_have_no_module_beside_the_arrow() -> None:
    modules = {path.relative_to(ROOT / "flows").parts[0] for path in (ROOT / "flows").rglob("*.py")}
    assert modules == {*FLOWS, "__init__.py"}


def test_flows_start_stages_and_import_none() -> None:
    known = {name for path in (ROOT / "flows").rglob("*.py") for name in imported(path) if name.startswith("tasks")}
    assert not known


def test_the_library_imports_one_module_of_flows_by_name() -> None:
    """`bss` loads the commands of the folder in which it is started; an `import` statement there is none."""
    named = {
        (path.relative_to(LIBRARY).as_posix(), node.value)
        for path in LIBRARY.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and re.fullmatch(r"(flows|tasks)(\.\w+)+", node.value)
    }
    assert named == {("__main__.py", "flows.commands.app")}


def test_leaves_import_only_leaves_and_contracts() -> None:
    contracts = {
        "bss.data.datasets.dataset",
        "bss.encoders.encoder",
        "bss.encoders.fusions.fusion",
        "bss.measure.criteria.criterion",
        "bss.curriculum.settings",
        "bss.curriculum.schedulers.scheduler",
        "bss.training.loggers.logger",
        "bss.training.methods.method",
        "bss.training.settings",
    }
    for leaf in LEAVES - {"params"}:
        assert folders(LIBRARY / f"{leaf}.py") <= LEAVES, leaf
    modules = {name for name in imported(LIBRARY / "params.py") if name.split(".")[1] in ARROW}
    assert {name for name in modules if not any(name.startswith(contract) for contract in contracts)} == set()


def test_only_evaluate_opens_the_test_split() -> None:
    openers = [path.name for path in (ROOT / "tasks").glob("*.py") if "Split.TEST" in path.read_text()]
    assert sorted(openers) == ["evaluate.py", "evaluate_active.py", "evaluate_by_test.py"]
    holders = {path for path in LIBRARY.rglob("*.py") if "Split.TEST" in path.read_text()}
    definers = {LIBRARY / "data" / "datasets" / f"{name}.py" for name in DATASETS}
    counts_its_pairs = {LIBRARY / "evaluation/diff/difference.py"}
    assert holders <= definers | counts_its_pairs, "only data sets define it"


def test_scores_are_ranked_in_one_place() -> None:
    files = [path for folder in ("measure", "curriculum", "training") for path in (LIBRARY / folder).rglob("*.py")]
    sorters = [path for path in files if "sort(" in path.read_text() and path.parent.name != "methods"]
    assert [path.name for path in sorters] == ["order.py"]
