"""Diagnosing and re-learning."""

from collections import Counter
from dataclasses import replace
from math import tanh
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans
from torch import Tensor

from bss.measure.evidence import Evidence
from bss.training import weights
from bss.training.loop import split_evidence
from bss.training.methods.fused_only import FusedOnly
from bss.training.methods.relearning import Relearning, clusters, purity, purity_gaps
from bss.training.trainer import Trainer
from bss.types import Split
from tests.helpers.steps import Splits, assert_same, small_trainer, trained_weights
from tests.helpers.toy import packed_toy


@pytest.fixture(scope="module", params=[2, 3], ids=lambda number: f"{number} modalities")
def splits(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Splits:
    return packed_toy(tmp_path_factory.mktemp("toy"), request.param)


def slow_purity(labels: list[int], of: list[int]) -> float:
    groups: dict[int, Counter[int]] = {}
    for label, cluster in zip(labels, of, strict=True):
        groups.setdefault(cluster, Counter())[label] += 1
    return sum(counts.most_common(1)[0][1] for counts in groups.values()) / len(labels)


def slow_gap(training: Evidence, validation: Evidence, name: str) -> float:
    found = []
    for part in (training, validation):
        assert part.features is not None
        columns = [column.tolist() for column in part.features[name].T]
        scaled = [[2 * (value - min(column)) / (max(column) - min(column) or 1) - 1 for value in column]
                  for column in columns]  # fmt: skip
        rows = np.array(scaled, dtype=np.float32).T
        found.append(slow_purity(part.labels.tolist(), KMeans(3, random_state=0).fit_predict(rows).tolist()))
    return abs(found[0] - found[1])


def evidence_of(trainer: Trainer, splits: Splits, split: Split) -> Evidence:
    return split_evidence(trainer.module, splits[split], 16, trainer.runtime)


def test_purity_by_hand() -> None:
    training = purity(torch.tensor([0, 0, 0, 1, 1, 1]), torch.tensor([0, 0, 1, 1, 1, 1]))
    validation = purity(torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 1, 0]))
    assert training == pytest.approx(0.833333, abs=1e-6)
    assert validation == 0.5
    share = tanh(3 * (training - validation))
    assert share == pytest.approx(0.761594, abs=1e-6)
    assert (1 - share) * 0.5 + share * 0.1 == pytest.approx(0.195362, abs=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_purity_equals_its_slow_reference(seed: int) -> None:
    draws = np.random.default_rng(seed)
    labels, of = draws.integers(seed + 1, size=20), draws.integers(2 + 2 * seed, size=20)
    found = purity(torch.from_numpy(labels), torch.from_numpy(of))
    assert found == pytest.approx(slow_purity(labels.tolist(), of.tolist()))


def test_weights_are_taken_back_by_the_formula(splits: Splits) -> None:
    method = Relearning(interval=3, strength=2.5)
    trainer = small_trainer(splits, method)
    method.begin_epoch(trainer, 0, pytest.fail, pytest.fail)
    initial = weights.take(trainer.model)
    torch.manual_seed(0)
    with torch.no_grad():
        for weight in trainer.model.parameters():
            weight.add_(torch.randn(weight.shape))
    before = weights.take(trainer.model)
    training, validation = (evidence_of(trainer, splits, split) for split in (Split.TRAIN, Split.VALIDATION))
    method.begin_epoch(trainer, 4, lambda: training, lambda: validation)
    after = weights.take(trainer.model)
    parameters = {name for name, _ in trainer.model.named_parameters()}
    shares = {name: tanh(2.5 * slow_gap(training, validation, name)) for name in trainer.model.branches}
    assert len(set(shares.values())) == len(shares), "each modality has a share of its own"
    for name, values in after.items():
        if ".encoder." in name and name in parameters:
            share = shares[name.split(".")[1]]
            assert torch.allclose(values, (1 - share) * before[name] + share * initial[name], atol=1e-6), name
            assert not torch.equal(values, before[name]), name
        else:
            assert torch.equal(values, before[name]), name


def test_momentum_and_batch_statistics_stay(splits: Splits) -> None:
    method = Relearning()
    trainer = small_trainer(splits, method, encoders={})
    method.begin_epoch(trainer, 0, pytest.fail, pytest.fail)
    trainer.optimizer.state[next(trainer.model.parameters())]["momentum"] = torch.ones(1)
    with torch.no_grad():
        for values in trainer.model.state_dict().values():
            if values.is_floating_point():
                values.add_(0.5)
    before = weights.take(trainer.model)
    training, validation = (evidence_of(trainer, splits, split) for split in (Split.TRAIN, Split.VALIDATION))
    method.begin_epoch(trainer, 3, lambda: training, lambda: validation)
    assert trainer.optimizer.state
    statistics = [name for name in before if "running" in name]
    assert statistics
    assert_same({n: before[n] for n in statistics}, {n: weights.take(trainer.model)[n] for n in statistics})


@pytest.mark.parametrize(
    ("settings", "epochs"),
    [({}, [3, 5, 7]), ({"interval": 1, "times": 2}, [2, 3]), ({"interval": 20}, [21, 41, 61]), ({"times": 0}, []),
     ({"strength": 0}, [])],
)  # fmt: skip
def test_it_relearns_after_every_interval(settings: dict[str, Any], epochs: list[int], splits: Splits) -> None:
    """Published: after the epochs 20, 40 and 60, counted from 0."""
    method = Relearning(**settings)
    trainer = small_trainer(splits, method)
    training, validation = (evidence_of(trainer, splits, split) for split in (Split.TRAIN, Split.VALIDATION))
    asked: list[int] = []
    for epoch in range(90):

        def look(epoch: int = epoch) -> Evidence:
            asked.append(epoch)
            return validation

        method.begin_epoch(trainer, epoch, lambda: training, look)
    assert asked == epochs


def test_without_strength_it_is_the_fused_loss_alone(splits: Splits) -> None:
    assert_same(trained_weights(splits, Relearning(strength=0, interval=1)), trained_weights(splits, FusedOnly()))


def test_what_a_sample_lacks_is_in_no_cluster() -> None:
    def evidence(features: Tensor, labels: list[int]) -> Evidence:
        logits = {name: torch.zeros(len(labels), 2) for name in ("a", "b", "fused")}
        return Evidence(logits, torch.tensor(labels), {"a": features, "b": features})

    labels = [0, 0, 1, 1, 0, 1, 0, 1]
    features = torch.tensor([[1.0, 9], [2, 9], [8, 1], [9, 1], [0, 0], [0, 0], [0, 0], [0, 0]])
    training = evidence(features, labels)
    whole = evidence(features[:4], labels[:4])
    assert purity_gaps(training, whole) == {"a": 0.0, "b": 0.0}, "both are pure"
    absent = replace(whole, features={"a": torch.zeros(4, 2), "b": features[:4]})
    assert purity_gaps(training, absent) == {"a": 0.0, "b": 0.0}, "nothing to compare with"


def test_few_or_equal_samples_are_clustered_too() -> None:
    assert clusters(torch.ones(2, 3), 5).tolist() in ([0, 0], [1, 1])
    assert sorted(clusters(torch.tensor([[0.0], [1.0]]), 5).tolist()) == [0, 1]
