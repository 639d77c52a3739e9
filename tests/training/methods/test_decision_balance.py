"""The calibrated sum against its equations."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from bss.model import MultimodalModel
from bss.training.loop import split_evidence
from bss.training.methods.decision_balance import DecisionBalance, calibrated_sum, recalls
from bss.training.methods.joint import Joint
from bss.types import Split
from tests.helpers.gaps import with_gaps
from tests.helpers.steps import Splits, assert_close, first_batch, small_trainer, trained_weights


def slow_sum(
    logits: list[list[list[float]]], present: list[list[bool]], mean: list[float], std: list[float],
    recall: list[list[float]], gamma: float,
) -> list[list[float]]:  # fmt: skip
    """Sample by sample and class by class."""
    found = []
    for row in range(len(logits[0])):
        there = [m for m in range(len(logits)) if present[m][row]]
        scores = []
        for c in range(len(logits[0][0])):
            total = sum(recall[m][c] for m in range(len(logits)))
            powers = {m: (recall[m][c] / total if total else 1 / len(logits)) ** gamma for m in there}
            score = 0.0
            for m in there:
                weight = powers[m] / sum(powers.values()) if sum(powers.values()) else 1 / len(there)
                score += len(there) * weight * (logits[m][row][c] - mean[m]) / std[m]
            scores.append(score)
        found.append(scores)
    return found


def fused(
    logits: Sequence[Sequence[float]], recall: Sequence[Sequence[float]], gamma: float, own: bool
) -> list[float]:
    """Of one sample; its logits are calibrated over its own classes, or not at all."""
    z = torch.tensor(logits)
    mean = z.mean(dim=1) if own else torch.zeros(len(z))
    std = z.std(dim=1, correction=0) if own else torch.ones(len(z))
    present = torch.ones(len(z), 1, dtype=torch.bool)
    return calibrated_sum(z[:, None], present, mean, std, torch.tensor(recall), gamma)[0].tolist()


def test_the_golden_sums() -> None:
    plain = fused([[2.0, 0.0], [-1.0, 1.0]], [[0.8, 0.4], [0.2, 0.6]], 1, own=False)
    assert plain == pytest.approx([2.8, 1.2])
    rows, recall = [[4.0, 0.0, -4.0], [0.5, 1.0, -1.5]], [[0.8, 0.4, 0.5], [0.2, 0.6, 0.5]]
    assert fused(rows, recall, 0, own=True) == pytest.approx([1.687655, 0.925820, -2.613475], abs=1e-6)
    assert fused(rows, recall, 1, own=True) == pytest.approx([2.144756, 1.110984, -2.613475], abs=1e-6)


@pytest.mark.parametrize("number", [2, 3, 6])
@pytest.mark.parametrize("gamma", [0.0, 1.0, 2.5])
def test_the_sum_equals_its_slow_reference(number: int, gamma: float) -> None:
    generator = torch.Generator().manual_seed(number)
    logits = torch.randn(number, 7, 4, generator=generator)
    present = torch.rand(number, 7, generator=generator) < 0.6
    recall = torch.rand(number, 4, generator=generator)
    recall[0, 0] = recall[:, 1] = 0  # one recognises none of a class, and none one of another
    mean, std = torch.randn(number, generator=generator), torch.rand(number, generator=generator) + 0.1
    found = calibrated_sum(logits, present, mean, std, recall, gamma)
    lists = (logits.tolist(), present.tolist(), mean.tolist(), std.tolist(), recall.tolist())
    assert torch.allclose(found, torch.tensor(slow_sum(*lists, gamma)), atol=1e-5)


def test_recalls_are_those_of_each_class() -> None:
    logits = torch.eye(4)[[0, 0, 1, 2, 1]]
    assert recalls(logits, torch.tensor([0, 0, 0, 1, 1])).tolist() == pytest.approx([2 / 3, 0.5, 0, 0])


def test_logits_without_deviation_are_left_in_their_scale() -> None:
    logits = torch.ones(2, 3, 4, requires_grad=True)
    present = torch.ones(2, 3, dtype=torch.bool)
    found = calibrated_sum(logits, present, torch.ones(2), torch.zeros(2), torch.zeros(2, 4), 1)
    found.sum().backward()
    assert torch.equal(found, torch.zeros(3, 4))
    assert logits.grad is not None
    assert torch.equal(logits.grad, torch.ones(2, 3, 4))


@pytest.mark.parametrize("weighting", ["trained", "posthoc"])
def test_it_measures_the_model_and_fuses_by_it(weighting: Any, splits: Splits) -> None:
    """The equation with what a loop over the training split measures; the step trains with it, or with the sum."""
    trainer = small_trainer(splits, DecisionBalance(weighting=weighting))
    model, train, batch = trainer.model, splits[Split.TRAIN], first_batch(splits)
    clean = split_evidence(model, train, 16, trainer.runtime)
    trainer.method.begin_epoch(trainer, 0, lambda: clean, lambda: clean)
    names = list(model.branches)
    mean, std, recall = [], [], []
    for name in names:
        numbers = [value for row in clean.logits[name].tolist() for value in row]
        mean.append(sum(numbers) / len(numbers))
        std.append((sum((number - mean[-1]) ** 2 for number in numbers) / len(numbers)) ** 0.5)
        right = [[0, 0] for _ in range(3)]
        for row, label in zip(clean.logits[name].tolist(), clean.labels.tolist(), strict=True):
            right[label][row.index(max(row)) == label] += 1
        recall.append([yes / (no + yes) for no, yes in right])
    assert len({tuple(each) for each in recall}) > 1
    for training in (False, True):
        model.train(training)
        logits = model(batch.inputs).logits
        rows = [logits[name].tolist() for name in names]
        if training and weighting == "posthoc":
            expected = torch.stack([logits[name] for name in names]).sum(dim=0)
        else:
            expected = torch.tensor(slow_sum(rows, [[True] * 16] * len(names), mean, std, recall, 1.0))
        assert torch.allclose(logits["fused"], expected, atol=1e-4)


def test_posthoc_trains_as_joint_with_a_sum_of_logits(splits: Splits) -> None:
    class Summed(Joint):
        def prepare(self, model: MultimodalModel) -> None:
            model.fusion = None

    def branches(method: Joint) -> dict[str, Tensor]:
        weights = trained_weights(splits, method)
        return {name: values for name, values in weights.items() if name.startswith("branches.")}

    # The heads are computed twice, so that gradients are added in another order.
    assert_close(branches(DecisionBalance(weighting="posthoc")), branches(Summed()), atol=1e-5)


def test_an_absent_modality_says_nothing(splits: Splits) -> None:
    trainer, gappy = small_trainer(splits, DecisionBalance()), with_gaps(first_batch(splits), m0=[3, 5])
    clean = split_evidence(trainer.model, splits[Split.TRAIN], 16, trainer.runtime)
    trainer.method.begin_epoch(trainer, 0, lambda: clean, lambda: clean)
    before = trainer.model.eval()(gappy.inputs).logits["fused"]
    with torch.no_grad():
        trainer.model.branch("m0").head.bias += 5
    after = trainer.model(gappy.inputs).logits["fused"]
    assert torch.equal(before[[3, 5]], after[[3, 5]])
    assert not torch.equal(before[4], after[4])
    trainer._step(gappy)
    assert all(weight.isfinite().all() for weight in trainer.model.parameters())


@pytest.mark.parametrize(("settings", "message"), [({"gamma": -1}, "gamma"), ({"weighting": "never"}, "weighting")])
def test_wrong_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DecisionBalance(**settings)
