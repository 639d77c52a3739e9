"""A fault of the program keeps its traceback, and a mistake of its user is one line."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.helpers import ROOT
from tests.helpers.pairs import KINDS, make_pairs
from tests.helpers.stages import FAST, run_to_curriculum

FAULT = "np.zeros(2) + np.zeros(3)"
LOG = "logs/train-joint-random-0.log"


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the library and of the stages, where one cell can be trained."""
    monkeypatch.chdir(tmp_path)
    raw = Path("data/sample")  # the folder that params.yaml has DVC watch
    raw.mkdir(parents=True)
    pairs = {"name": "manifest", "file": str(make_pairs(raw) / "pairs.csv"), "kinds": KINDS}
    run_to_curriculum(tmp_path, pairs, dict.fromkeys(KINDS, FAST))
    for part in ("src", "tasks"):
        shutil.copytree(ROOT / part, tmp_path / part, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def train(workspace: Path) -> "subprocess.CompletedProcess[str]":
    command = (sys.executable, "-m", "tasks.train", "--method", "joint", "--scheduler", "random", "--seed", "0")
    return subprocess.run(command, check=False, cwd=workspace, capture_output=True, text=True, timeout=100)


def test_a_fault_of_a_method_shows_its_line_and_wrong_params_are_one_line(workspace: Path) -> None:
    method = workspace / "src/bss/training/methods/joint.py"
    lines = method.read_text().splitlines()
    place = next(number for number, line in enumerate(lines) if line.startswith("        weights = "))
    lines[place:place] = ["        import numpy as np", "", f"        {FAULT}"]
    method.write_text("\n".join(lines) + "\n")
    done = train(workspace)
    assert done.returncode == 1
    assert f'File "{method}", line {place + 3}, in loss\n    {FAULT}' in done.stderr
    *_, error, log = done.stderr.splitlines()
    assert error.startswith("ValueError: operands could not be broadcast together with shapes (2,) (3,)")
    assert log == f"log: {LOG}"
    assert error in (workspace / LOG).read_text()

    raw = yaml.safe_load((workspace / "params.yaml").read_text())
    raw["train"]["epochs"] = 0
    (workspace / "params.yaml").write_text(yaml.safe_dump(raw))
    done = train(workspace)
    assert done.returncode == 2
    error, log = done.stderr.splitlines()
    assert error.startswith("error: params.yaml: train.epochs")
    assert log == f"log: {LOG}"
