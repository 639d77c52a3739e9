"""How evenly the modalities contribute to a fused prediction."""

import json
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
import torch

from bss.encoders.mlp import MLP
from bss.evaluation.artifacts import metrics_of
from bss.evaluation.judging.equilibrium import equilibrium
from bss.evaluation.judging.judgement import judge
from bss.measure.evidence import Evidence
from bss.model import MultimodalModel, build_model
from bss.paths import Cell, Workspace
from bss.training.loop import split_evidence
from bss.training.methods.joint import Joint
from bss.training.methods.mla import MLA
from bss.training.methods.unimodal import Unimodal
from bss.training.runtime import Runtime
from bss.types import Split
from tests.helpers.steps import Splits
from tests.helpers.toy import SETTINGS, packed_toy


@pytest.fixture(scope="module")
def splits(tmp_path_factory: pytest.TempPathFactory) -> Splits:
    return packed_toy(tmp_path_factory.mktemp("toy"), 3)


def model_of(splits: Splits) -> MultimodalModel:
    """Large random weights, so that the modalities contribute unlike shares."""
    meta = splits[Split.TEST].meta
    torch.manual_seed(0)
    model = build_model(meta, {name: MLP(width=8) for name in meta.modalities}, 0)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn(weight.shape))
    return model


def slow_shares(model: MultimodalModel, evidence: Evidence) -> dict[str, float]:
    """The mean gain over all orders in which the modalities join, sample by sample."""
    names = list(model.branches)

    def value(some: tuple[str, ...]) -> float:
        with torch.no_grad():
            if model.fusion is None:
                logits = sum((evidence.logits[n] for n in some), torch.zeros_like(evidence.logits["fused"]))
            else:
                assert evidence.features is not None
                logits = model.fusion({n: f * (n in some) for n, f in evidence.features.items()})
        rows = [row.double().softmax(dim=0)[label] for row, label in zip(logits, evidence.labels, strict=True)]
        return float(sum(rows)) / len(rows)

    orders = list(permutations(names))
    gains = {
        name: sum(value(o[: o.index(name) + 1]) - value(o[: o.index(name)]) for o in orders) / len(orders)
        for name in names
    }
    total = sum(max(gain, 0) for gain in gains.values())
    return {name: max(gain, 0) / total for name, gain in gains.items()}


@pytest.mark.parametrize("method", [Joint(), MLA()], ids=["a fusion of features", "the sum of the logits"])
def test_a_judgement_has_the_shares_and_their_deviation(method: Joint | MLA, splits: Splits) -> None:
    model, runtime = model_of(splits), Runtime.start(SETTINGS)
    method.prepare(model)
    found = judge(model, splits[Split.TEST], method, 16, runtime).equilibrium
    shares = slow_shares(model, split_evidence(model, splits[Split.TEST], 16, runtime))
    assert found["shares"] == pytest.approx(shares, abs=1e-5)
    assert found["equilibrium_deviation"] == pytest.approx(sum(abs(s - 1 / 3) for s in shares.values()) / 3, abs=1e-5)


def test_where_nothing_is_fused_or_contributes_there_is_none(splits: Splits) -> None:
    model, runtime = model_of(splits), Runtime.start(SETTINGS)
    assert judge(model, splits[Split.TEST], Unimodal(), 16, runtime).equilibrium == {}
    evidence = split_evidence(model, splits[Split.TEST], 16, runtime)
    with torch.no_grad():
        assert model.fusion is not None
        for weight in model.fusion.parameters():
            weight.zero_()
    assert equilibrium(model, evidence, runtime) == {}
    many = {f"m{place}": torch.zeros(2, 3) for place in range(9)}
    wide = Evidence({**many, "fused": torch.zeros(2, 3)}, np.zeros(2, dtype=int), many)
    assert equilibrium(model, wide, runtime) == {}


def test_a_table_of_metrics_has_the_deviation_of_each_run(tmp_path: Path) -> None:
    """Null where there is none: of a modality alone, or of a run of before."""
    workspace, cells = Workspace(tmp_path), [Cell("joint", "random", 0), Cell("unimodal", "random", 0)]
    workspace.all_metrics.mkdir(parents=True)
    for cell, facts in zip(cells, ({"equilibrium_deviation": 0.2, "shares": {"a": 0.7, "b": 0.3}}, {}), strict=True):
        content = {"outputs": {"a": {"accuracy": 0.5}}, "num_steps": 1, "num_samples": 2, **facts}
        workspace.metrics(cell).write_text(json.dumps(content))
    assert metrics_of(workspace, cells)["equilibrium_deviation"].to_list() == [0.2, None]
