"""The tables of docs/objectives.py, from what studies leave, and the values of `warmup.objective`."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from bss.errors import InputError
from bss.params import Params
from bss.parsing import checked, read_mapping
from docs.objectives import movement, table
from tests.helpers import ROOT


def leave(name: str, orders: list[list[float]]) -> None:
    """A study's table of one row, and the scores of its seeds."""
    row = {"method": "joint", "label": "random", "accuracy": 0.5, "accuracy_sd": 0.01, "difference": None}
    other = {**row, "label": "learned", "difference": 0.02, "low": -0.01, "high": 0.05}
    (folder := Path("reports/compare", name)).mkdir(parents=True)
    (folder / "table.json").write_text(json.dumps([row, other]))
    for seed, scores in enumerate(orders):
        workspace = Path(".dvc/tmp/compare", name, f"seed-{seed}")
        (workspace / "data/packed/train").mkdir(parents=True)
        (workspace / "data/scores").mkdir()
        ids = [str(row) for row in range(len(scores))]
        pl.DataFrame({"id": ids, "class": ["a"] * len(ids)}).write_parquet(
            workspace / "data/packed/train/manifest.parquet"
        )
        pl.DataFrame({"id": ids, "balance_score": scores}).write_parquet(workspace / f"data/scores/{seed}.parquet")


def test_the_tables_of_two_objectives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rising = np.arange(20.0).tolist()
    leave("one", [rising, rising])
    leave("two", [rising[::-1], rising])
    assert "| joint · learned | 50.0 ± 1.0; +2.0 [-1.0, +5.0] | 50.0 ± 1.0; +2.0 [-1.0, +5.0] |" in table(
        ["one", "two"]
    )
    rows = movement(["one", "two"]).splitlines()
    assert rows[2].startswith("| two | 0.00 ± 1.41 | 0.50 ± 0.71 | 0.50 ± 0.71 |")
    assert rows[3].startswith("| one, seed to seed | 1.00")
    assert rows[4].startswith("| two, seed to seed | -1.00")
    with pytest.raises(InputError, match="three: its workspaces are gone"):
        movement(["one", "three"])
    with pytest.raises(InputError, match=r"three/table\.json is missing"):
        table(["three"])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"objective": "umrl"}, "warmup.objective: unknown warm-up objective 'umrl'; did you mean 'umurl'"),
        ({"objective": {"name": "umurl", "width": 0}}, "warmup.objective.*width"),
        (
            {"objective": {"name": "calm", "generated": "text"}},
            "warmup.objective: 'calm' cannot be used with these data",
        ),
        ({"probe_epochs": -1}, "warmup.probe_epochs: -1"),
        (
            {"objective": "umurl", "probe_epochs": 99},
            r"warmup.epochs \+ warmup.probe_epochs \+ train.epochs = 112 are needed",
        ),
    ],
)
def test_a_wrong_objective_is_refused_at_once(values: dict[str, object], message: str) -> None:
    raw = read_mapping(ROOT / "params.yaml")
    with pytest.raises(InputError, match=message):
        checked({**raw, "warmup": {**raw["warmup"], **values}}, Params, Path("params.yaml"))


def test_a_warm_up_section_is_written_as_it_is_read() -> None:
    """As the form of a run does: an objective is its name and the fields that were set."""
    raw = read_mapping(ROOT / "params.yaml")
    for given in ({"name": "joint"}, {"name": "calm", "task": "contrast", "width": 16}):
        warmup = {**raw["warmup"], "objective": given}
        assert checked({**raw, "warmup": warmup}, Params, Path("params.yaml")).warmup.model_dump() == warmup


def test_parameters_from_before_objectives_are_joint() -> None:
    raw = read_mapping(ROOT / "params.yaml")
    old = {key: value for key, value in raw["warmup"].items() if key not in ("objective", "probe_epochs")}
    assert checked({**raw, "warmup": old}, Params, Path("params.yaml")) == checked(raw, Params, Path("params.yaml"))
