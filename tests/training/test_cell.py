"""Where the training of a cell begins."""

from pathlib import Path

import polars as pl
import pytest
import torch
import yaml

from bss.files import read_tensors
from tasks.train import train
from tests.helpers.pairs import KINDS, make_pairs, rows, write
from tests.helpers.stages import FAST, run_to_curriculum


def test_a_setting_decides_whether_it_goes_on_from_the_warmup(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At a rate that moves nothing: the weights are those of the warm-up, or new ones with its epoch added."""
    monkeypatch.chdir(tmp_path)
    raw = Path("data/sample")
    raw.mkdir(parents=True)
    make_pairs(raw)
    write(raw, rows())
    data = {"name": "manifest", "file": f"{raw}/pairs.csv", "kinds": KINDS}
    run_to_curriculum(tmp_path, data, {"sound": FAST, "picture": FAST})
    params = yaml.safe_load(Path("params.yaml").read_text())
    fields = {"name": "g2d", "teacher_epochs": 0, "prioritised_epochs": 0}
    params["methods"] = {f"by_{ranks}": {**fields, "ranks": ranks} for ranks in ("batch", "warmup")}
    params["grid"]["methods"] = list(params["methods"])
    params["train"] |= {"lr": 1e-12}
    Path("params.yaml").write_text(yaml.safe_dump(params))
    warm = read_tensors(Path("models/warmup/0/model.safetensors"))
    for method, goes_on in (("by_warmup", True), ("by_batch", False)):
        train(method, "random", 0)
        run = Path(f"models/runs/{method}-random-0")
        found = read_tensors(run / "model.safetensors")
        heads = [name for name in warm if name.startswith("branches.") and name.endswith("head.weight")]
        assert all(torch.allclose(found[name], warm[name], atol=1e-6) == goes_on for name in heads)
        assert pl.read_parquet(run / "history.parquet")["epoch"].n_unique() == (1 if goes_on else 2)
