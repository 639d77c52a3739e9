"""A study as a Prefect flow: its rows through the DVC matrix, then its table and page."""

import os
import shutil
import subprocess
import sys
from contextlib import chdir
from pathlib import Path
from typing import Any

import yaml
from prefect import flow
from prefect.artifacts import create_markdown_artifact
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from bss.data.fetch import SHARED, VARIABLE
from bss.files import write_text
from bss.params import BASELINE, load
from flows.graph import pipeline
from flows.study import Study
from flows.workspace import TEMPORARY, occupied

WORKSPACES = TEMPORARY / "compare"
RESULTS = Path("reports/compare")
PARTS = ("src", "tasks", "data/sample", "dvc.yaml", ".dvcignore")


@flow(persist_result=False, retries=0)
def compare(name: str, study: Study, raw: dict[str, Any], about: list[str], command: str) -> State[None]:
    """Bring every cell of a study up to date in a workspace of its own, and write reports/compare/NAME.

    Args:
        name: of the workspace and of the results.
        study: the rows.
        raw: the content of params.yaml with the study in it.
        about: what the page says first, a sentence each.
        command: what repeats the comparison.

    Raises:
        Busy: the same comparison is running.
    """
    results = (RESULTS / name).resolve()
    workspace = prepare(name, raw)
    with chdir(workspace):
        state = pipeline(return_state=True)
        if not state.is_completed():
            return Failed(message=state.message)
        write_results(name, study, raw, about, command, results)
    shutil.copyfile(workspace / "reports/report.html", results / "report.html")
    create_markdown_artifact((results / "table.md").read_text(encoding="utf-8"), key="comparison")
    return Completed(message=state.message)


def prepare(name: str, raw: dict[str, Any]) -> Path:
    """The folder of a comparison's workspace: this one's code and cache, the study's parameters.

    Raises:
        Busy: the same comparison is running.
    """
    source, workspace = Path.cwd(), (WORKSPACES / name).resolve()
    os.environ.setdefault(VARIABLE, str(SHARED.resolve()))
    os.environ["PYTHONPATH"] = str(workspace / "src")  # stages run the code that was copied, not what it becomes here
    if not (workspace / ".dvc/config").is_file():
        workspace.mkdir(parents=True, exist_ok=True)
        _dvc(workspace, "init", "--quiet", "--no-scm", "--force")
        _dvc(workspace, "config", "core.analytics", "false")
        _dvc(workspace, "config", "cache.dir", _dvc(source, "cache", "dir").strip())
    with chdir(workspace), occupied():
        for part in PARTS:
            shutil.rmtree(part, ignore_errors=True)
            copy = shutil.copytree if (source / part).is_dir() else shutil.copy2
            Path(part).parent.mkdir(parents=True, exist_ok=True)
            copy(source / part, part)
        if not (downloads := Path("data/raw")).is_symlink():
            (source / downloads).mkdir(parents=True, exist_ok=True)
            downloads.symlink_to(source / downloads)
        write_text(yaml.safe_dump(raw, sort_keys=False, allow_unicode=True), Path("params.yaml"))
    return workspace


def write_results(name: str, study: Study, raw: dict[str, Any], about: list[str], command: str, folder: Path) -> None:
    """Read the cells of the workspace that one is in, and write what they say together."""
    from bss.evaluation.comparison import comparison_table, fused_runs
    from bss.evaluation.report.comparison import Comparison, write_comparison
    from bss.evaluation.report.grid import read_grid

    params, variants = load(Path("params.yaml")), study.variants()
    grid = read_grid(params, raw)
    runs = fused_runs(grid.metrics, grid.history, params.train.keep)
    given = Comparison(
        name=name,
        about=tuple(about),
        dataset=grid.dataset,
        notes=grid.notes,
        num_pairs=grid.num_pairs,
        variants=variants,
        table=comparison_table(runs, variants, BASELINE, params.report.confidence),
        baseline=BASELINE,
        confidence=params.report.confidence,
        command=command,
        parameters=raw,
    )
    write_comparison(given, folder)


def _dvc(folder: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "dvc", *arguments]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout
