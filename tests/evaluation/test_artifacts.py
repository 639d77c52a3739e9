"""Artifacts of a data set that params.yaml no longer names."""

import json
from pathlib import Path

from bss.evaluation.artifacts import remove_of_other_data
from bss.paths import Cell, Workspace


def evaluated(folder: Path, cell: Cell, test: str | None) -> None:
    workspace = Workspace(folder)
    workspace.all_metrics.mkdir(parents=True, exist_ok=True)
    workspace.metrics(cell).write_text(json.dumps({"outputs": {}, **({"test": test} if test else {})}))
    workspace.predictions(cell).mkdir(parents=True)
    (workspace.predictions(cell) / "predictions.parquet").touch()


def test_metrics_and_predictions_of_an_earlier_data_set_go(tmp_path: Path) -> None:
    now, seed, other, old = (Cell("joint", name, 0) for name in ("random", "heuristic", "learned", "self-paced"))
    for cell, test in ((now, "digits 1"), (seed, "digits 1"), (other, "digits 2"), (old, None)):
        evaluated(tmp_path, cell, test)
    workspace = Workspace(tmp_path)
    workspace.predictions(Cell("ogm", "random", 0)).mkdir()  # without metrics, which git has taken away
    remove_of_other_data(workspace, now)
    assert {path.stem for path in workspace.all_metrics.iterdir()} == {str(now), str(seed)}
    assert {path.name for path in workspace.all_predictions.iterdir()} == {str(now), str(seed)}
