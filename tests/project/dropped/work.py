"""All stages with the new components and no others, as params.yaml chooses them."""

import json
from pathlib import Path

import polars as pl
import pytest
import yaml
from safetensors.numpy import load_file

from tests.helpers import ROOT


def test_the_dropped_components_do_their_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    raw = yaml.safe_load((ROOT / "params.yaml").read_text())
    raw |= {"raw": ".", "preprocess": {"name": "dropped", "size": 3}, "fusion": {"name": "dropped", "width": 5}}
    raw |= {"encoders": {"numbers": {"name": "dropped", "width": 6}}}
    raw |= {"score": {"criteria": ["dropped"], "others": []}}
    raw["warmup"] |= {"epochs": 1, "batch_size": 4}
    raw["train"] |= {"epochs": 3, "batch_size": 4}
    dropped = {"name": "dropped", "pacing": {"name": "dropped", "start": 0.4}}
    raw["curriculum"] = {"epochs": 4, "schedulers": {"random": {"name": "random"}, "dropped": dropped}}
    raw["active"] |= {"initial": 4, "per_round": 3, "epochs": 1, "grid": {"acquisitions": ["dropped"], "seeds": [0]}}
    raw["flow"]["log"] = ["dropped"]
    raw["grid"] = {"seeds": [0], "methods": ["dropped"], "schedulers": ["random", "dropped"]}
    Path("params.yaml").write_text(yaml.safe_dump(raw))
    run_stages()

    labelled = pl.read_parquet("models/active/dropped-0/1/labelled.parquet")
    initial = labelled.filter(round=0)["index"].to_list()
    assert labelled.filter(round=1)["index"].to_list() == [index for index in range(7) if index not in initial][:3]
    splits = {split: len(pl.read_parquet(f"data/packed/{split}/manifest.parquet")) for split in ("train", "test")}
    assert splits == {"train": 20, "test": 10}
    scores = pl.read_parquet("data/scores/0.parquet")["dropped"]
    assert 0 < scores.min() < scores.max() < 1
    sequence = pl.read_parquet("data/curricula/dropped-0/sequence.parquet").sort("epoch")
    assert sequence["num_samples"].to_list() == [8, 11, 20, 20], "20 (0.4 + 0.6 p^2)"
    assert json.loads(Path("data/methods/dropped.json").read_text())["fields"] == {"share": 0.5}
    weights = load_file("models/runs/dropped-dropped-0/model.safetensors")
    shapes = {values.shape for name, values in weights.items() if name.startswith(("fusion", "branches.numbers"))}
    assert {(6, 3), (5, 6), (2, 5)} <= shapes, "encoder, projection and head"
    curve = Path("logs/dropped/dropped-dropped-0.txt").read_text().split()
    history = pl.read_parquet("models/runs/dropped-dropped-0/history.parquet").filter(output="fused")
    assert [float(value) for value in curve[1::2]] == history["validation_accuracy"].to_list()
    metrics = json.loads(Path("reports/metrics/dropped-dropped-0.json").read_text())
    assert 0.5 < metrics["outputs"]["fused"]["accuracy"] <= 1
    assert '<th scope="row">test</th><td>10</td>' in Path("reports/report.html").read_text()


def run_stages() -> None:
    from tasks.acquire import acquire
    from tasks.curriculum import curriculum
    from tasks.evaluate import evaluate
    from tasks.methods import methods
    from tasks.preprocess import preprocess
    from tasks.report import report
    from tasks.score import score
    from tasks.train import train
    from tasks.warmup import warmup

    preprocess()
    methods()
    warmup(0)
    score(0)
    for scheduler in ("random", "dropped"):
        curriculum(scheduler, 0)
    for method, scheduler in (("dropped", "random"), ("dropped", "dropped"), ("unimodal", "random")):
        train(method, scheduler, 0)
        evaluate(method, scheduler, 0)
    report()
    acquire("dropped", 0)
    acquire("dropped", 0, 1)
