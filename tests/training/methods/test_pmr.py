"""Prototypes pull the modality that lags."""

from copy import deepcopy
from functools import partial
from math import exp, log, sqrt
from typing import Any

import pytest
import torch
from torch import Tensor

from bss.measure.evidence import Evidence
from bss.training.loop import split_evidence
from bss.training.methods.joint import Joint
from bss.training.methods.pmr import PMR, class_means, lags_and_leads
from bss.types import Split
from tests.helpers.steps import Splits, assert_same, first_batch, gradients, small_trainer

ALL = torch.ones(3, dtype=torch.bool)
FEATURES = {"a": torch.tensor([[1.0, 0], [0.2, 0.6]]), "v": torch.tensor([[0.3, 0.3], [0.5, -0.2]])}
MEANS = {
    "a": (torch.tensor([[1.0, 0.5], [0, 0.8], [-1, 0]]), ALL),
    "v": (torch.tensor([[0.4, 0.6], [0.1, -0.5], [-0.3, 0.2]]), ALL),
}
LABELS = torch.tensor([0, 1])


def slow_rebalance(
    features: Any, prototypes: Any, labels: list[int], released: bool, alpha: float, mu: float
) -> float:
    """Modality by modality, sample by sample and class by class."""
    sure, pulls, entropies = [], [], []
    for rows, (means, has) in zip(features, prototypes, strict=True):
        known = [k for k in range(len(means)) if has[k]]
        found = []
        for row, y in zip(rows, labels, strict=True):
            if not any(row) or y not in known:
                continue
            near = {k: exp(-sqrt(sum((a - b) ** 2 for a, b in zip(row, means[k], strict=True)))) for k in known}
            p = {k: value / sum(near.values()) for k, value in near.items()}
            found.append((p[y], -sum(value * log(value) for value in p.values())))
        sure.append(sum(own for own, _ in found) / len(found))
        pulls.append(-sum(log(own) for own, _ in found) / len(found))
        entropies.append(sum(entropy for _, entropy in found) / len(found))
    total = 0.0
    for s, pull, entropy in zip(sure, pulls, entropies, strict=True):
        beta, gamma = min(max(sure) / s - 1, 1.0), min(s / min(sure) - 1, 1.0)
        total += alpha * (float(beta > 0) if released else beta) * pull - mu * gamma * entropy
    return total


@pytest.mark.parametrize("number", [2, 3, 6])
@pytest.mark.parametrize("released", [False, True])
def test_what_prototypes_add_equals_its_slow_reference(number: int, released: bool) -> None:
    torch.manual_seed(number)
    names, labels = [f"m{m}" for m in range(number)], torch.arange(12) % 4
    features = {name: torch.randn(12, 3 + m) for m, name in enumerate(names)}
    features["m0"][:2] = 0  # these samples lack the first modality
    prototypes = {name: (torch.randn(4, 3 + m), torch.ones(4, dtype=torch.bool)) for m, name in enumerate(names)}
    prototypes["m1"][1][2] = False  # no sample of that class was drawn
    method = PMR(variant="released" if released else "published", alpha=0.7)
    found = float(method.rebalance(features, prototypes, labels, 0.0 if released else 0.2))
    lists = [values.tolist() for values in features.values()]
    means = [(m.tolist(), has.tolist()) for m, has in prototypes.values()]
    expected = slow_rebalance(lists, means, labels.tolist(), released, 0.7, 0.0 if released else 0.2)
    assert found == pytest.approx(expected, rel=1e-4)


def test_two_samples_by_hand() -> None:
    assert float(PMR().rebalance(FEATURES, MEANS, LABELS, 0.01)) == pytest.approx(0.274882, abs=1e-6)
    assert float(PMR().rebalance(FEATURES, MEANS, LABELS, 0.0)) == pytest.approx(0.277998, abs=1e-6)
    released = PMR(variant="released").rebalance(FEATURES, MEANS, LABELS, 0.0)
    assert float(released) == pytest.approx(0.866696, abs=1e-6)
    beta, gamma = lags_and_leads(torch.tensor([1.2, 0.8, 0.5]))
    assert beta.tolist() == pytest.approx([0, 0.5, 1])
    assert gamma.tolist() == pytest.approx([1, 0.6, 0])


@pytest.mark.parametrize("scale", [0.0, 1e4])
def test_features_on_or_far_from_a_prototype_have_a_finite_gradient(scale: float) -> None:
    features = {name: (means[:2] + scale).clone().requires_grad_() for name, (means, _) in MEANS.items()}
    loss = PMR().rebalance(features, MEANS, LABELS, 0.01)
    loss.backward()
    assert loss.isfinite()
    assert all(values.grad is None or values.grad.isfinite().all() for values in features.values())


def test_prototypes_are_means_that_keep_a_part(splits: Splits) -> None:
    trainer = small_trainer(splits, PMR(subset=1, momentum=0.75))
    evidence = split_evidence(trainer.module, splits[Split.TRAIN], 16, trainer.runtime)
    features = evidence.features["m0"]  # type: ignore[index]
    trainer.method.begin_epoch(trainer, 0, lambda: evidence, lambda: evidence)
    first = trainer.memory["prototypes of m0"]
    expected = torch.stack([features[evidence.labels == k].mean(dim=0) for k in range(3)])
    assert torch.allclose(first, expected, atol=1e-5)
    trainer.memory["prototypes of m0"] = torch.zeros_like(first)
    trainer.method.begin_epoch(trainer, 1, lambda: evidence, lambda: evidence)
    assert torch.allclose(trainer.memory["prototypes of m0"], 0.25 * expected, atol=1e-5)


def test_a_class_without_samples_has_no_prototype_and_keeps_an_old_one() -> None:
    means, has = class_means(torch.ones(2, 4), torch.tensor([0, 2]), 3)
    assert has.tolist() == [True, False, True]
    assert means.sum(dim=1).tolist() == [4, 0, 4]
    unknown = {name: (values, ~ALL) for name, (values, _) in MEANS.items()}
    assert float(PMR().rebalance(FEATURES, unknown, LABELS, 0.01)) == 0


def test_without_weights_and_outside_its_epochs_it_is_joint(splits: Splits) -> None:
    batch = first_batch(splits)
    found: dict[str, dict[str, Tensor]] = {}
    asked: list[object] = []

    def ask(evidence: Evidence) -> Evidence:
        asked.append(evidence)
        return deepcopy(evidence)

    given = {"joint": Joint(), "none": PMR(alpha=0, mu=0), "later": PMR(starts=1), "default": PMR()}
    for name, method in given.items():
        trainer = small_trainer(splits, method)
        evidence = split_evidence(trainer.module, splits[Split.TRAIN], 96, trainer.runtime)
        asked.clear()
        method.begin_epoch(trainer, 0, partial(ask, evidence), partial(deepcopy, evidence))
        assert bool(asked) == (name == "default"), "a scheduler may learn from what is measured"
        found[name] = gradients(trainer, batch)
    assert_same(found["none"], found["joint"])
    assert_same(found["later"], found["joint"])
    assert any(not torch.equal(found["default"][name], values) for name, values in found["joint"].items())


def test_released_prototypes_are_of_whole_batches() -> None:
    released = PMR(variant="released")
    assert released.num_drawn(6698, 64) == 640, "10 of 105 batches"
    assert PMR().num_drawn(6698, 64) == 670
    assert released.num_drawn(500, 64) == 64, "at least one of 8 batches"
    assert released.num_drawn(50, 64) == 50, "no more than there are"
    assert PMR(variant="released", subset=1).num_drawn(100, 16) == 100
    assert [PMR(variant="released", subset=share).num_drawn(1600, 16) for share in (0.29, 0.57)] == [464, 912]


@pytest.mark.parametrize(("variant", "kept"), [("published", (0, 0.75, 0.75)), ("released", (0, 0, 0.75))])
def test_momentum_of_the_released_prototypes_begins_later(
    variant: Any, kept: tuple[float, ...], splits: Splits
) -> None:
    trainer = small_trainer(splits, PMR(subset=1, momentum=0.75, variant=variant))
    evidence = split_evidence(trainer.module, splits[Split.TRAIN], 16, trainer.runtime)
    for epoch, share in enumerate(kept):
        trainer.method.begin_epoch(trainer, epoch, lambda: evidence, lambda: evidence)
        fresh = torch.stack([evidence.features["m0"][evidence.labels == k].mean(dim=0) for k in range(3)])  # type: ignore[index]
        assert torch.allclose(trainer.memory["prototypes of m0"], (1 - share) * fresh, atol=1e-5), epoch
        trainer.memory["prototypes of m0"] = torch.zeros_like(fresh)
