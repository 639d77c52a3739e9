"""The script for a machine with a GPU, with a `python` that only says what it was asked."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.helpers import ROOT

STUB = """#!/bin/sh
echo "asked: $*"
case "$*" in *"benchmarks gpu"*) exit 3 ;; esac
"""


def on_gpu(folder: Path, *arguments: str) -> tuple[int, dict[str, str]]:
    """The exit code, and what lies in the folder of the figures."""
    (folder / "bin").mkdir()
    (folder / "bin/python").write_text(STUB)
    (folder / "bin/python").chmod(0o755)
    path = f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
    command = ["bash", str(ROOT / "benchmarks/on_gpu.sh"), str(folder / "out"), *arguments]
    done = subprocess.run(command, env=os.environ | {"PATH": path}, capture_output=True, check=False, timeout=60)
    return done.returncode, {file.name: file.read_text() for file in (folder / "out").iterdir()}


def test_a_step_that_fails_stops_no_other(tmp_path: Path) -> None:
    status, files = on_gpu(tmp_path, "--quick")
    assert status == 1
    ends = [line.split(maxsplit=3) for line in files["summary.txt"].splitlines() if " s  " in line]
    assert [(name, end) for name, _, _, end in ends] == [
        ("tests", "passed"),
        ("gpu", "FAILED with exit code 3"),
        ("released", "passed"),
        ("repeat", "passed"),
        ("main_job", "passed"),
    ]
    assert "-m pytest -m cuda" in files["tests.log"]
    assert all("--quick" in files[f"{name}.log"] for name in ("gpu", "released", "repeat", "main_job"))


@pytest.mark.parametrize(("wanted", "status"), [(["released", "repeat"], 0), (["gpu"], 1)])
def test_some_steps_can_be_asked_for(wanted: list[str], status: int, tmp_path: Path) -> None:
    found, files = on_gpu(tmp_path, *wanted)
    assert found == status
    assert set(files) == {"summary.txt", *(f"{name}.log" for name in wanted)}
    assert not any("--quick" in text for text in files.values())
