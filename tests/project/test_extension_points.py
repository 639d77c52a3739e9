"""Every extension point takes exactly one file: one of each is dropped into a copy of the tree, and nothing else."""

import re
import shutil
from pathlib import Path

from tests.helpers import ROOT, forked

DROPPED = ROOT / "tests/project/dropped"
POINTS = {
    "dataset": "data/datasets",
    "kind": "data/kinds",
    "encoder": "encoders",
    "fusion": "encoders/fusions",
    "criterion": "measure/criteria",
    "pacing": "curriculum/pacing",
    "scheduler": "curriculum/schedulers",
    "objective": "training/objectives",
    "acquisition": "curriculum/acquisitions",
    "method": "training/methods",
    "logger": "training/loggers",
    "section": "evaluation/report",
}
PARTS = ("src", "tasks", "flows", "tests", "docs", "params.yaml")
CONTRACTS = (
    "project/test_registry.py",
    "project/test_guide.py",
    "encoders/test_contract.py",
    "encoders/test_fusions.py",
    "measure/test_measure.py",
    "curriculum/test_curriculum.py",
    "curriculum/test_sampler.py",
    "curriculum/test_acquisitions.py",
    "training/methods/test_contract.py",
    "training/objectives/test_contract.py",
    "evaluation/report/test_contract.py",
)
REGISTERED = (
    "data set",
    "kind",
    "encoder",
    "fusion",
    "balance criterion",
    "pacing",
    "scheduler",
    "training method",
    "acquisition",
    "warm-up objective",
    "logger",
)


def test_a_file_each_is_all_it_takes(tmp_path: Path, forkservers: Path) -> None:
    for part in PARTS:
        put = shutil.copytree if (ROOT / part).is_dir() else shutil.copy
        put(ROOT / part, tmp_path / part)
    for point, folder in POINTS.items():
        assert not (tmp_path / "src/bss" / folder / "dropped.py").exists()
        shutil.copy(DROPPED / f"{point}.py", tmp_path / "src/bss" / folder / "dropped.py")
    shutil.copy(DROPPED / "work.py", tmp_path / "tests/project/test_dropped.py")
    files = [f"tests/{name}" for name in ("project/test_dropped.py", *CONTRACTS)]
    arguments = [
        "-v",
        "-p",
        "no:cacheprovider",
        "--noconftest",
        "-k",
        "dropped or public",
        "-m",
        "not nightly",
        *files,
    ]
    done = forked.run("pytest", arguments, tmp_path, forkservers, PYTHONPATH=str(tmp_path / "src"))
    assert done.returncode == 0, done.stdout
    passed = re.findall(r"^tests/(\S+?)::(.*) PASSED", done.stdout, flags=re.MULTILINE)
    assert {name for name, _ in passed} == {"project/test_dropped.py", *CONTRACTS}
    tests = {test for _, test in passed}
    for kind in REGISTERED:
        assert f"test_every_file_defines_one_documented_component[{kind}-dropped]" in tests
    assert "test_every_scheduler_is_public_by_its_file" in tests
