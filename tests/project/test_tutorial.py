"""docs/tutorial.ipynb does what it says, and shows what it does."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import ROOT, python_path

nbclient = pytest.importorskip("nbclient", reason="the notebook needs the extra: pip install .[docs]")
nbformat = pytest.importorskip("nbformat")
NOTEBOOK = ROOT / "docs/tutorial.ipynb"
PACK = """
from bss.data.packing.pack import pack
from bss.params import load
pack(load(Path("params.yaml")).preprocess, Path("data/packed"))
"""
"""In the place of the whole run by day: what the last cells read."""
VARYING = {"run"}
"""Tag of the cell that prints seconds."""


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """What would be committed now, as a repository of its own; the notebook clones it."""
    folder = tmp_path / "repository"
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    wanted = ("src", "tasks", "flows", "data/example", ".dvc", "dvc.yaml", "params.yaml", ".gitignore", ".dvcignore")
    for name in listed.stdout.split("\0"):
        if name.startswith(wanted) and (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes((ROOT / name).read_bytes())
    identity = ("-c", "user.name=test", "-c", "user.email=test@localhost")
    for command in (["init", "-q"], ["add", "-A"], [*identity, "commit", "-qm", "all"]):
        subprocess.run(["git", *command], cwd=folder, check=True)
    return folder


def executed(repository: Path, monkeypatch: pytest.MonkeyPatch, *, whole: bool) -> tuple[Any, Any]:
    """The notebook as it is stored, and as it comes out now."""
    bss = repository.parent / "bin/bss"
    bss.parent.mkdir()
    bss.write_text(f'#!/bin/sh\nexec {sys.executable} -m bss "$@"\n')
    bss.chmod(0o755)
    monkeypatch.setenv(
        "PATH", f"{bss.parent}{os.pathsep}{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    )
    monkeypatch.setenv("PYTHONPATH", python_path(repository / "src"))
    monkeypatch.setenv("PREFECT_HOME", str(repository.parent / "prefect"))
    monkeypatch.setenv("TMPDIR", str(repository.parent))
    monkeypatch.setenv("IPYTHONDIR", str(repository.parent / "ipython"))
    stored, now = (nbformat.read(NOTEBOOK, as_version=4) for _ in range(2))
    for cell in now.cells:
        tags = set(cell.metadata.get("tags", ()))
        if not whole and "run" in tags:
            cell.source = PACK
        elif not whole and "results" in tags:
            cell.source = ""
    nbclient.NotebookClient(now, timeout=300, resources={"metadata": {"path": str(repository)}}).execute()
    return stored, now


def printed(cell: Any) -> str:
    assert all(output["output_type"] == "stream" for output in cell.outputs), cell.outputs
    return "".join(output["text"] for output in cell.outputs if output["name"] == "stdout")


def check(stored: Any, now: Any, *, without: set[str]) -> None:
    """What the page shows is what comes out: the words of it, as the last digits differ between machines."""
    for old, new in zip(stored.cells, now.cells, strict=True):
        if old.cell_type == "code" and not without & set(old.metadata.get("tags", ())):
            assert words(printed(old)) == words(printed(new)), old.source


def words(text: str) -> list[str]:
    return [word for word in text.split() if not word.lstrip("+-").replace(".", "").isdigit()]


def test_it_shows_what_comes_out(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = (repository / "params.yaml").read_bytes()
    stored, now = executed(repository, monkeypatch, whole=False)
    check(stored, now, without={"run", "results"})
    assert (repository / "params.yaml").read_bytes() == before
    assert not list(repository.parent.glob("bss-tutorial-*")), "the copy is gone"


@pytest.mark.nightly
def test_all_of_it_runs(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stored, now = executed(repository, monkeypatch, whole=True)
    check(stored, now, without=VARYING)
    [run] = [cell for cell in now.cells if "run" in cell.metadata.get("tags", ())]
    assert printed(run).count("Completed") > 10


def test_it_has_its_outputs_and_no_place_of_a_machine() -> None:
    cells = [cell for cell in nbformat.read(NOTEBOOK, as_version=4).cells if cell.cell_type == "code"]
    assert sum(bool(cell.outputs) for cell in cells) >= len(cells) - 2, "all but the first and the last one print"
    text = NOTEBOOK.read_text()
    assert "/tmp" not in text and "/home" not in text
