"""docs/add-a-method.md works as it stands, and every method has a page, written or made of its code."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from bss.training.methods.method import METHODS
from docs import catalogue
from docs.catalogue import page
from tests.helpers import ROOT, forked
from tests.helpers.workspace import Workspace

DOCS = ROOT / "docs"
GUIDE = (DOCS / "add-a-method.md").read_text()
FILES = re.findall(r"`([\w/]+\.py)`:\n\n```python\n(.*?)```", GUIDE, flags=re.DOTALL)
"""(path, text) of each file that the guide has written."""
SETTINGS = [yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", GUIDE, flags=re.DOTALL)]


def flat(settings: dict[str, Any], above: str = "") -> dict[str, Any]:
    """As `Workspace.set` takes them; a method is set as a whole."""
    found: dict[str, Any] = {}
    for key, value in settings.items():
        whole = not isinstance(value, dict) or "name" in value
        found |= {f"{above}{key}": value} if whole else flat(value, f"{above}{key}__")
    return found


@pytest.mark.xdist_group("pipeline")  # whose workspace is gone on from
def test_the_guide_leads_to_a_row(tmp_path: Path, finished: tuple[Workspace, set[str]]) -> None:
    workspace = finished[0].copied(tmp_path / "workspace")
    workspace.set(grid__schedulers=["random"])
    for path, text in FILES:
        if path.startswith("src/"):
            (workspace.folder / path).write_text(text)
    for settings in SETTINGS:
        workspace.set(**flat(settings))
    assert workspace.reproduce() == {
        "methods", "train@smoothed-random-0", "evaluate@smoothed-random-0", "report", "register",
    }  # fmt: skip
    rows = json.loads((workspace.folder / "reports/summary.json").read_text())
    assert [row["run"] for row in rows] == ["joint · random", "smoothed · random", "audio alone", "image alone"]
    assert "| smoothed · random |" in (workspace.folder / "reports/summary.md").read_text()
    joint, smoothed = rows[:2]
    assert 0 < smoothed["accuracy"] <= 1
    assert smoothed["num_steps"] == joint["num_steps"]
    metrics = [
        (workspace.folder / f"reports/metrics/{name}-random-0.json").read_text() for name in ("joint", "smoothed")
    ]
    assert metrics[0] != metrics[1], "the file was used"


@pytest.mark.nightly
def test_its_tests_pass_and_notice_a_wrong_method(tmp_path: Path, forkservers: Path) -> None:
    """Also: the contract tests take the new file up without being edited."""
    for part in ("src", "flows", "tests"):
        shutil.copytree(ROOT / part, tmp_path / part)
    for path, text in FILES:
        (tmp_path / path).write_text(text)
    own = next(path for path, _ in FILES if path.startswith("tests/"))
    contracts = ["tests/training/test_loop.py", "tests/training/test_checkpoint.py", "tests/project/test_registry.py"]
    done = run_tests(tmp_path, forkservers, own, *contracts)
    assert done.returncode == 0, done.stdout
    # 4 of its own; weights; to resume; 2 of its fields.
    assert "8 passed" in done.stdout
    method = next(path for path, _ in FILES if path.startswith("src/"))
    wrong = (tmp_path / method).read_text().replace("0.0 if output == FUSED", "0.0 if output != FUSED")
    (tmp_path / method).write_text(wrong)
    assert "2 failed, 2 passed" in run_tests(tmp_path, forkservers, own).stdout


def run_tests(folder: Path, forkservers: Path, *files: str) -> subprocess.CompletedProcess[str]:
    arguments = ["-q", "-p", "no:cacheprovider", "-k", "smoothed", *files]
    return forked.run("pytest", arguments, folder, forkservers, PYTHONPATH=str(folder / "src"))


@pytest.mark.parametrize("name", list(METHODS))
def test_a_method_has_a_page_that_names_its_fields(name: str) -> None:
    check_page(name, page(name))


def check_page(name: str, text: str) -> None:
    assert text.startswith(f"# {name}")
    table = "".join(line for line in text.splitlines() if line.startswith("| `"))
    for field in METHODS[name].model_fields:
        assert f"`{field}`" in table, field


@pytest.mark.parametrize("name", list(METHODS))
def test_a_method_without_a_written_page_has_one_made_of_its_code(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalogue, "PAGES", tmp_path)
    text = page(name)
    check_page(name, text)
    assert METHODS[name].__doc__.splitlines()[0] in text
    assert (DOCS / "methods" / re.findall(r"\]\((.*?)\)", text)[-1]).is_file()
    (tmp_path / f"{name}.md").write_text("written")
    assert page(name) == "written"


def test_the_tables_of_the_methods_are_of_the_code() -> None:
    text = catalogue.PAGE.read_text()
    assert catalogue.written(text) == text, "`python -m docs.catalogue` makes them anew"
    rows = catalogue.table().splitlines()[2:]
    assert re.findall(r"^\| (?:\[|`)(\w+)", "\n".join(rows), flags=re.MULTILINE) == list(METHODS)
    written = {path.stem for path in (DOCS / "methods").glob("*.md")}
    assert written <= set(METHODS), "a page without a method"


@pytest.mark.parametrize("name", ["methods.md", "add-a-method.md"])
def test_what_it_names_is_there(name: str) -> None:
    text = (DOCS / name).read_text()
    for target in re.findall(r"\]\(([\w/.-]+\.md)\)", text):
        assert (DOCS / target).is_file(), target
    written = {path for path, _ in FILES}
    for path in set(re.findall(r"\b((?:tests|src)/[\w/]+\.py)", text)) - written:
        assert (DOCS.parent / path).is_file(), path
    for hook in re.findall(r"^\|[^|]+\| `(\w+)\(", text, flags=re.MULTILINE):
        assert hasattr(METHODS.base, hook), hook
