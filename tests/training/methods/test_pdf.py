"""Predictive dynamic fusion."""

from math import exp, log
from typing import Any

import pytest
import torch

from bss.model import MultimodalModel
from bss.training.methods.joint import Joint
from bss.training.methods.pdf import PDF, confidence_loss, flatness, modality_weights
from tests.helpers.gaps import with_gaps
from tests.helpers.steps import Splits, assert_same, first_batch, gradients, small_trainer

A, V = torch.tensor([[2.0, 0.5, -1], [0.2, 1.5, 0.3]]), torch.tensor([[0.1, 0.4, 0.2], [1.0, -0.5, 0.6]])
Q = torch.tensor([[0.7, 0.4], [0.5, 0.9]])
ALL = torch.ones(2, 2, dtype=torch.bool)


def slow_weights(q: list[float], there: list[bool], rc: list[float]) -> list[float]:
    """Of one sample, modality by modality."""
    known = [m for m, is_there in enumerate(there) if is_there]
    total = sum(log(q[m]) for m in known)
    powers = [0.0] * len(q)
    for m in known:
        holo = sum(log(q[o]) for o in known if o != m) / (max(len(known) - 1, 1) * total)
        powers[m] = exp((q[m] + holo) * rc[m])
    return [power / sum(powers) for power in powers]


def slow_flatness(rows: list[list[float]], there: list[bool]) -> list[float]:
    apart = []
    for row, is_there in zip(rows, there, strict=True):
        p = [exp(value) / sum(map(exp, row)) for value in row]
        apart.append(sum(abs(value - 1 / len(row)) for value in p) / len(row) if is_there else 0.0)
    return [value / max(apart) for value in apart]


def test_two_samples_by_hand() -> None:
    holo = 1 - Q.log() / Q.log().sum(dim=0)
    assert holo[0].tolist() == pytest.approx([0.660252, 0.103128], abs=1e-6)
    assert holo[1].tolist() == pytest.approx([0.339748, 0.896872], abs=1e-6)
    training = modality_weights(Q.log(), ALL)
    first, second = [0.627266, 0.372734], [0.215220, 0.784780]
    assert training.T.tolist() == [pytest.approx(row, abs=1e-6) for row in (first, second)]
    z = torch.stack([A, V])
    apart = (z.softmax(dim=2) - 1 / 3).abs().mean(dim=2)
    assert apart.tolist() == [pytest.approx(row, abs=1e-6) for row in ([0.301509, 0.201401], [0.038240, 0.143660])]
    rc = flatness(z, ALL)
    assert rc.tolist() == [pytest.approx(row, abs=1e-5) for row in ([1, 1], [0.126830, 0.713304])]
    test = modality_weights(Q.log(), ALL, rc)
    assert test.T.tolist() == [pytest.approx(row, abs=1e-5) for row in ([0.777948, 0.222052], [0.314624, 0.685376])]


@pytest.mark.parametrize("number", [2, 3, 6])
def test_the_weights_equal_their_slow_reference(number: int) -> None:
    generator = torch.Generator().manual_seed(number)
    q, z = torch.rand(number, 20, generator=generator) * 0.9 + 0.05, torch.randn(number, 20, 4, generator=generator)
    present = torch.rand(number, 20, generator=generator) < 0.8
    present[0] |= ~present.any(dim=0)
    rc = flatness(z, present)
    plain, calibrated = modality_weights(q.log(), present), modality_weights(q.log(), present, rc)
    for i in range(20):
        there = present[:, i].tolist()
        slow_rc = slow_flatness(z[:, i].tolist(), there)
        assert rc[:, i].tolist() == pytest.approx(slow_rc, abs=1e-5)
        assert plain[:, i].tolist() == pytest.approx(slow_weights(q[:, i].tolist(), there, [1] * number), abs=1e-5)
        assert calibrated[:, i].tolist() == pytest.approx(slow_weights(q[:, i].tolist(), there, slow_rc), abs=1e-5)


@pytest.mark.parametrize("log_q", [0.0, -1e4])
def test_confidences_at_their_ends_have_weights(log_q: float) -> None:
    weights = modality_weights(torch.full((3, 2), log_q), torch.ones(3, 2, dtype=torch.bool))
    assert weights.sum(dim=0).tolist() == pytest.approx([1, 1])
    assert torch.allclose(weights, torch.full((3, 2), 1 / 3), atol=1e-4)
    assert flatness(torch.zeros(3, 2, 4), torch.ones(3, 2, dtype=torch.bool)).eq(1).all()


def test_the_loss_of_the_nets_by_hand() -> None:
    found = confidence_loss(Q.T, {"a": A, "v": V}, torch.tensor([0, 1]))
    a, v = [0.785597, 0.635435], [0.289433, 0.117843]
    expected = (abs(0.7 - a[0]) + abs(0.4 - a[1]) + abs(0.5 - v[0]) + abs(0.9 - v[1])) / 2
    assert float(found) == pytest.approx(expected, abs=1e-5)


def test_fused_logits_are_the_slow_ones_in_training_and_in_evaluation(splits: Splits) -> None:
    trainer, batch = small_trainer(splits, PDF()), with_gaps(first_batch(splits), m0=[1, 2])
    model: Any = trainer.model
    for training in (True, False):
        model.train(training)
        with torch.no_grad():
            outputs = model(batch.inputs)
            q = model.fusion.rule.log_confidences(outputs.features).exp()
        for row in range(16):
            there = [not (row in (1, 2) and name == "m0") for name in model.branches]
            z = [outputs.logits[name][row].tolist() for name in model.branches]
            rc = [1.0] * len(z) if training else slow_flatness(z, there)
            weights = slow_weights(q[row].tolist(), there, rc)
            expected = [sum(w * values[c] for w, values in zip(weights, z, strict=True)) for c in range(3)]
            assert outputs.logits["fused"][row].tolist() == pytest.approx(expected, abs=1e-4)


class ByNets(Joint):
    """`joint` with PDF's fusion."""

    def prepare(self, model: MultimodalModel) -> None:
        PDF().prepare(model)


def test_without_weight_it_is_joint_with_its_fusion_and_encoders_never_see_the_nets(splits: Splits) -> None:
    batch, found = first_batch(splits), {}
    joint = small_trainer(splits, ByNets())
    for weight in (0.0, 5.0):
        trainer = small_trainer(splits, PDF(confidence_weight=weight))
        joint.model.load_state_dict(trainer.model.state_dict())
        found[weight], expected = gradients(trainer, batch), gradients(joint, batch)
        assert_same(found[weight], expected, "branches")
    trainer = small_trainer(splits, PDF(confidence_weight=0))
    before = {name: values.clone() for name, values in trainer.model.state_dict().items()}
    trainer._step(batch)
    assert_same(before, trainer.model.state_dict(), "fusion.rule.nets")  # nor do they decay
    assert bool(found[5.0]["fusion.rule.nets.m0.0.weight"].any())


def test_a_net_learns_how_sure_its_modality_is(splits: Splits) -> None:
    trainer, batch = small_trainer(splits, PDF(confidence_weight=3)), first_batch(splits)
    model: Any = trainer.model.train()

    def apart() -> float:
        with torch.no_grad():
            outputs = model(batch.inputs)
            q = model.fusion.rule.log_confidences(outputs.features).exp()
            return float(confidence_loss(q, {n: outputs.logits[n] for n in model.branches}, batch.labels))

    before = apart()
    for _ in range(20):
        trainer._step(batch)
    assert apart() < before
