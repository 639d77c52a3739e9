"""Runs of the flow in a process of their own, in a project of shell stages."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.helpers import ROOT, python_path


def make_project(folder: Path, graph: str) -> Path:
    folder.mkdir()
    for command in (["git", "init", "--quiet"], [sys.executable, "-m", "dvc", "init", "--quiet"]):
        subprocess.run(command, cwd=folder, check=True)
    (folder / ".dvc/config").write_text("[core]\nanalytics = false\ncheck_update = false\n")
    (folder / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    (folder / "dvc.yaml").write_text(graph)
    (folder / "data").mkdir()
    for part in ("data/sample", "flows"):
        (folder / part).symlink_to(ROOT / part)
    return folder


@contextmanager
def started(project: Path, *arguments: str, **environment: str) -> "Iterator[subprocess.Popen[str]]":
    names = {key: value for key, value in os.environ.items() if not key.startswith(("PREFECT_", "CUDA_"))}
    process = subprocess.Popen(
        [sys.executable, *(arguments or ("-m", "bss", "run"))],
        cwd=project,
        env=names | {"PYTHONPATH": python_path(ROOT, ROOT / "src"), "CUDA_VISIBLE_DEVICES": ""} | environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        yield process
    finally:
        process.terminate()
        process.communicate(timeout=30)


def run(project: Path, *arguments: str, **environment: str) -> tuple[int, str]:
    with started(project, *arguments, **environment) as process:
        output, _ = process.communicate(timeout=180)
    return process.returncode, output
