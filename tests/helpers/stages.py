"""A raw folder for one data set, its packed splits, and the stages one after the other in this process."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from bss.data.datasets.dataset import Dataset
from bss.data.packed import PackedSplit, open_split
from bss.data.packing.pack import pack
from bss.types import Split
from tests.helpers import ROOT

FAST = {"name": "mlp", "width": 8, "num_layers": 1}


def raw_root(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The empty folder where the raw files of a data set are looked for."""
    monkeypatch.setenv("BSS_DATA", str(folder / "raw"))
    root = folder / "raw" / name
    root.mkdir(parents=True)
    return root


def packed(dataset: Dataset, folder: Path) -> dict[Split, PackedSplit]:
    """The splits of a data set as the stages see them."""
    pack(dataset, folder)
    return {split: open_split(folder, split) for split in Split}


def run_to_curriculum(folder: Path, preprocess: dict[str, Any], encoders: Mapping[str, Any]) -> None:
    """The stages before the training of one cell, in the current folder, which is `folder`."""
    from tasks.curriculum import curriculum
    from tasks.preprocess import preprocess as run_preprocess
    from tasks.score import score
    from tasks.warmup import warmup

    raw = yaml.safe_load((ROOT / "params.yaml").read_text())
    raw["preprocess"], raw["encoders"] = preprocess, dict(encoders)
    raw["warmup"] |= {"epochs": 1, "batch_size": 8}
    raw["train"] |= {"epochs": 1, "batch_size": 8}
    raw["curriculum"]["epochs"] = 2
    raw["grid"] = {"seeds": [0], "methods": ["joint"], "schedulers": ["random"]}
    (folder / "params.yaml").write_text(yaml.safe_dump(raw))
    run_preprocess()
    warmup(0)
    score(0)
    curriculum("random", 0)


def run_stages(folder: Path, preprocess: dict[str, Any], encoders: Mapping[str, Any]) -> dict[str, Any]:
    """Output -> its metrics, of one cell, after all stages from preprocess to report."""
    from tasks.evaluate import evaluate
    from tasks.report import report
    from tasks.train import train

    run_to_curriculum(folder, preprocess, encoders)
    for method in ("joint", "unimodal"):
        train(method, "random", 0)
        evaluate(method, "random", 0)
    report()
    outputs: dict[str, Any] = json.loads((folder / "reports/metrics/joint-random-0.json").read_text())["outputs"]
    return outputs
