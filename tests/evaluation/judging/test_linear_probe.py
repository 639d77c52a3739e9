"""Linear probes: what a logistic regression makes of frozen features."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from bss.encoders.mlp import MLP
from bss.evaluation.artifacts import metrics_of
from bss.evaluation.judging.judgement import judge
from bss.evaluation.judging.linear_probe import linear_probe
from bss.evaluation.report.imbalance import probe_accuracies
from bss.measure.evidence import Evidence
from bss.model import build_model
from bss.paths import Cell, Workspace
from bss.training.methods.joint import Joint
from bss.training.methods.unimodal import Unimodal
from bss.training.runtime import Runtime
from bss.types import Split
from tests.helpers.toy import SETTINGS, packed_toy


def evidence(features: dict[str, np.ndarray], labels: np.ndarray) -> Evidence:
    logits = dict.fromkeys([*features, "fused"], torch.zeros(len(labels), 2))
    return Evidence(logits, labels, {name: torch.as_tensor(values) for name, values in features.items()})


def test_a_probe_finds_what_is_in_the_features_alone() -> None:
    """The label is the sign of the second number of `a`, of a product over both modalities neither probe's."""
    generator = np.random.default_rng(0)
    a, b = generator.normal(size=(2, 400, 2)).astype(np.float32)
    labels = (a[:, 1] + b[:, 0] > 0).astype(np.int64)
    b *= 0.001  # another unit: the penalty is on standardised features
    halves = [evidence({"a": a[rows], "b": b[rows]}, labels[rows]) for rows in (slice(200), slice(200, None))]
    found = linear_probe(*halves)
    assert list(found) == ["a", "b", "fused"]
    assert found["fused"] > 0.95
    assert 0.6 < found["a"] < 0.9
    assert 0.6 < found["b"] < 0.9


def slow_logistic(values: np.ndarray, labels: np.ndarray, num_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Minimum of the sum of cross-entropies + half the squares of the weights, by small steps downhill."""
    weights, bias = np.zeros((values.shape[1], num_classes)), np.zeros(num_classes)
    for _ in range(3000):
        logits = values @ weights + bias
        shares = np.exp(logits - logits.max(axis=1, keepdims=True))
        shares /= shares.sum(axis=1, keepdims=True)
        shares[np.arange(len(labels)), labels] -= 1
        weights -= 0.01 * (values.T @ shares + weights)
        bias -= 0.01 * shares.sum(axis=0)
    return weights, bias


def test_a_probe_is_the_slow_reference() -> None:
    generator = np.random.default_rng(1)
    labels = generator.integers(0, 3, 90)
    features = generator.normal(size=(90, 4)) + np.eye(3, 4)[labels]
    train, test = slice(60), slice(60, None)
    mean, sd = features[train].mean(axis=0), features[train].std(axis=0)
    weights, bias = slow_logistic((features[train] - mean) / sd, labels[train], 3)
    expected = (((features[test] - mean) / sd) @ weights + bias).argmax(axis=1)
    logits = dict.fromkeys(["a", "b", "fused"], torch.zeros(90, 3))
    both = {name: torch.as_tensor(features) for name in ("a", "b")}
    halves = [
        Evidence({n: v[rows] for n, v in logits.items()}, labels[rows], {n: v[rows] for n, v in both.items()})
        for rows in (train, test)
    ]
    assert linear_probe(*halves)["a"] == pytest.approx(np.mean(expected == labels[test]))


@pytest.mark.parametrize("method", [Joint(), Unimodal()], ids=["joint", "unimodal"])
def test_a_judgement_has_them_where_they_are_asked_for(method: Joint | Unimodal, tmp_path: Path) -> None:
    splits = packed_toy(tmp_path, 3)
    meta = splits[Split.TEST].meta
    model, runtime = build_model(meta, {name: MLP(width=8) for name in meta.modalities}, 0), Runtime.start(SETTINGS)
    method.prepare(model)
    assert judge(model, splits[Split.TEST], method, 16, runtime).probes == {}
    probes = judge(model, splits[Split.TEST], method, 16, runtime, train=splits[Split.TRAIN]).probes["linear_probe"]
    assert set(probes) == {*model.branches, "fused"}
    assert all(0 <= accuracy <= 1 for accuracy in probes.values())


def test_the_table_of_the_page_has_a_row_a_run(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    workspace.all_metrics.mkdir(parents=True)
    cells = [Cell("joint", "random", 0), Cell("joint", "random", 1), Cell("unimodal", "random", 0)]
    of_cells = [{"a": 0.5, "fused": 0.8}, {"a": 0.7, "fused": 0.9}, {"a": 0.6, "fused": 0.7}]
    for cell, probes in zip(cells, of_cells, strict=True):
        outputs = ["a", "b"] + ["fused"] * (cell.method == "joint")
        content = {"outputs": {name: {"accuracy": 0.5} for name in outputs}, "linear_probe": probes}
        workspace.metrics(cell).write_text(json.dumps(content))
    metrics = metrics_of(workspace, cells)
    table = pl.DataFrame(
        {"method": ["joint"], "scheduler": ["random"], "output": ["fused"], "run": ["joint · random"]}
    )
    assert probe_accuracies(metrics, table, ["a", "b"]) == [
        ("joint · random", "60.0", "-", "85.0"),
        ("each modality alone", "60.0", "-", "-"),
    ]
    assert probe_accuracies(metrics.drop("linear_probe"), table, ["a", "b"]) == []
