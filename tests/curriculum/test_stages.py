"""What the stages hand to a scheduler: labels with the scores, in the plan and in training."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml

from bss.curriculum.order import within_class
from bss.curriculum.schedulers.learned import Learned
from bss.curriculum.schedulers.scheduler import epoch_indices
from tasks.curriculum import curriculum
from tasks.train import train
from tests.helpers.pairs import KINDS, make_pairs, rows, write
from tests.helpers.stages import FAST, run_to_curriculum

RAW = Path("data/sample")


def test_by_class_holds_in_the_plan_and_in_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    RAW.mkdir(parents=True)
    make_pairs(RAW)
    write(RAW, rows())
    data = {"name": "manifest", "file": f"{RAW}/pairs.csv", "kinds": KINDS}
    run_to_curriculum(tmp_path, data, {"sound": FAST, "picture": FAST})
    params = yaml.safe_load(Path("params.yaml").read_text())
    params["curriculum"]["schedulers"]["fair"] = {"name": "learned", "by_class": True, "temperature": 0.1}
    params["grid"]["schedulers"] = ["random", "fair"]
    Path("params.yaml").write_text(yaml.safe_dump(params))
    curriculum("fair", 0)
    table = pl.read_parquet("data/scores/0.parquet")
    scores, labels = (table[name].to_numpy() for name in ("balance_score", "label"))
    followed, scheduler = within_class(scores, labels), Learned(temperature=0.1)
    order = pl.read_parquet("data/curricula/fair-0/order.parquet")
    assert np.allclose(order["probability"], scheduler.probabilities(followed))
    assert order.sort("rank")["index"].to_list() == np.argsort(-followed, kind="stable").tolist()
    assert order["balance_score"].to_list() == scores.tolist()

    train("joint", "fair", 0)
    drawn = pl.read_parquet("models/runs/joint-fair-0/draws.parquet")["num_draws"].to_list()
    wanted = np.bincount(epoch_indices(scheduler, followed, 0, 0), minlength=len(scores)).tolist()
    assert drawn == wanted != np.bincount(epoch_indices(scheduler, scores, 0, 0), minlength=len(scores)).tolist()
