"""What is handed on has nothing in it that only training needs, and says the same."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml

from bss.evaluation.registered.card import Best
from bss.evaluation.registered.prediction import load, predict
from bss.files import read_tensors
from tasks.evaluate import evaluate
from tasks.register import register
from tasks.train import train
from tests.helpers.pairs import KINDS, make_pairs, rows, write
from tests.helpers.stages import FAST, run_to_curriculum

RAW, BEST = Path("data/sample"), Path("models/best")
EPOCHS = {"mmlora": {"alone_epochs": 1, "rank": 2}, "umt": {"teacher_epochs": 1},
          "g2d": {"teacher_epochs": 1, "prioritised_epochs": 0}}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with everything that training reads."""
    folder = tmp_path_factory.mktemp("export")
    (folder / RAW).mkdir(parents=True)
    make_pairs(folder / RAW)
    write(folder / RAW, rows())
    data = {"name": "manifest", "file": f"{RAW}/pairs.csv", "kinds": KINDS}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run_to_curriculum(folder, data, {"sound": FAST, "picture": FAST})
    return folder


@pytest.mark.parametrize("method", EPOCHS)
def test_what_only_training_needs_is_not_handed_on(
    method: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    params = yaml.safe_load(Path("params.yaml").read_text())
    params["methods"] = {method: {"name": method, **EPOCHS[method]}}
    params["grid"] |= {"methods": [method]}
    params["train"] |= {"keep": "last"}
    Path("params.yaml").write_text(yaml.safe_dump(params))
    train(method, "random", 0)
    evaluate(method, "random", 0)
    register()
    trained = read_tensors(Path(f"models/runs/{method}-random-0/model.safetensors"))
    handed_on = read_tensors(BEST / "model.safetensors")
    assert not [name for name in handed_on if "parametrizations" in name or name.startswith("teachers.")]
    assert len(handed_on) < len(trained)
    best = Best.read(BEST)
    load(best, BEST)
    rows().filter(pl.col("split") == "test").drop("split").write_csv(RAW / "new.csv")
    predicted = predict(BEST, best, best.rows(RAW / "new.csv"), 4, "cpu")
    reported = pl.read_parquet(f"reports/predictions/{method}-random-0/predictions.parquet")
    for output, values in predicted.outputs.items():
        wanted = reported.filter(pl.col("output") == output)
        assert wanted["id"].to_list() == predicted.ids
        assert np.abs(values - wanted["probabilities"].to_numpy()).max() < 1e-6, output
