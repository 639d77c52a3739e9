"""Quality-aware fusion."""

from copy import deepcopy
from math import exp, log
from typing import Any, Literal

import pytest
import torch
from torch import Tensor

from bss.model import MultimodalModel
from bss.training.methods.joint import Joint
from bss.training.methods.qmf import QMF, _difficulty, confidence
from tests.helpers.gaps import with_gaps
from tests.helpers.steps import Splits, assert_close, assert_same, first_batch, gradients, small_trainer

Variant = Literal["published", "released"]
A, V = torch.tensor([[2.0, 0.5, -1], [0.2, 1.5, 0.3]]), torch.tensor([[0.1, 0.4, 0.2], [1.0, -0.5, 0.6]])
BOTH = torch.tensor([True, True])


def slow_ranking(sure: list[float], t: list[float], there: list[bool], variant: Variant) -> float:
    """Sample by sample with its neighbour; the last one's is the first."""
    total = 0.0
    for i in range(len(sure)):
        j = (i + 1) % len(sure)
        sign = (t[i] > t[j]) - (t[i] < t[j])
        margin = abs(t[i] - t[j]) * (1 if variant == "published" else -1)
        if there[i] and there[j]:
            total += max(0.0, sign * (sure[i] - sure[j]) + margin)
    return total / len(sure)


def test_two_samples_by_hand() -> None:
    assert confidence(A).tolist() == pytest.approx([0.224131, 0.195345], abs=1e-6)
    assert confidence(V).tolist() == pytest.approx([0.133983, 0.163840], abs=1e-6)
    fused = QMF()._fused(torch.stack([A, V]), torch.ones(2, 2, dtype=torch.bool), {})
    expected = [[0.461661, 0.165659, -0.197335], [0.202909, 0.211097, 0.156907]]
    assert torch.allclose(fused, torch.tensor(expected), atol=1e-6)
    assert float(QMF().loss({"fused": fused}, torch.tensor([0, 1]))) == pytest.approx(0.946990, abs=1e-6)


def test_the_order_by_hand() -> None:
    t = (torch.tensor([1.5, 0.5]) - 0.2) / (2 - 0.2)
    assert t.tolist() == pytest.approx([0.722222, 0.166667], abs=1e-6)
    sure = torch.tensor([0.9, 0.2])
    assert float(QMF(variant="released").ranking(sure, t, BOTH)) == pytest.approx(0.144444, abs=1e-6)
    assert float(QMF().ranking(sure, t, BOTH)) == pytest.approx(1.255556, abs=1e-6)
    # The harder sample is the less sure by the margin: nothing to learn.
    assert float(QMF().ranking(sure.flip(0), t, BOTH)) == 0


@pytest.mark.parametrize("variant", ["published", "released"])
def test_the_order_equals_its_slow_reference(variant: Variant) -> None:
    torch.manual_seed(0)
    sure, t, there = torch.randn(30), torch.rand(30).round(decimals=1), torch.rand(30) < 0.8
    found = float(QMF(variant=variant).ranking(sure, t, there))
    assert found == pytest.approx(slow_ranking(sure.tolist(), t.tolist(), there.tolist(), variant), rel=1e-5)


def test_the_history_is_the_sum_of_the_losses_so_far(splits: Splits) -> None:
    memory: dict[str, Tensor] = {}
    slow: list[float] = []
    generator = torch.Generator().manual_seed(0)
    for rows in ([3, 1, 3], [0, 5, 1], [2, 3, 5], [4, 2, 0]):  # the last ones meet all
        z, labels = torch.randn(3, 4, generator=generator), torch.tensor([0, 3, 2])
        z[2] = 0  # it lacks the modality
        batch: Any = first_batch(splits, 3)._replace(indices=torch.tensor(rows), labels=labels)
        found = _difficulty(memory, "m0", z, batch)
        slow += [0.0] * (max(rows) + 1 - len(slow))  # a sample that was not met yet has no loss
        for row, values, y in zip(rows[:2], z[:2].tolist(), labels[:2].tolist(), strict=True):
            slow[row] += log(sum(map(exp, values))) - values[y]
        low, high = min(slow), max(slow)
        assert memory["history of m0"].tolist() == pytest.approx(slow, rel=1e-5)
        assert found.tolist() == pytest.approx([(slow[row] - low) / (high - low) for row in rows], abs=1e-5)


def test_alike_samples_are_alike_in_difficulty(splits: Splits) -> None:
    batch = first_batch(splits, 2)._replace(indices=torch.tensor([0, 1]))
    assert _difficulty({}, "m0", torch.zeros(2, 3), batch).tolist() == [0, 0]


class ByConfidence(Joint):
    """`joint` with QMF's fusion."""

    def prepare(self, model: MultimodalModel) -> None:
        QMF().prepare(model)


def test_without_weight_it_is_joint_with_its_fusion(splits: Splits) -> None:
    batch = first_batch(splits)
    joint, neutral, default = (
        gradients(small_trainer(splits, method), batch) for method in (ByConfidence(), QMF(rank_weight=0), QMF())
    )
    assert_same(neutral, joint)
    assert not torch.equal(default["branches.m0.head.weight"], joint["branches.m0.head.weight"])


@pytest.mark.parametrize("learns", [False, True])
def test_a_step_is_the_slow_one(splits: Splits, learns: bool) -> None:
    batch = first_batch(splits)
    method = QMF(confidence_learns=learns, fused_weight=0.7, unimodal_weight=0.3, rank_weight=2)
    trainer = small_trainer(splits, method)
    model: Any = small_trainer(splits, Joint(fused_weight=0.7, unimodal_weight=0.3)).model.train()
    z = {name: model(batch.inputs).logits[name] for name in model.branches}
    conf = {name: values.exp().sum(dim=1).log() / 10 for name, values in z.items()}
    fused = torch.stack([(c if learns else c.detach())[:, None] * z[name] for name, c in conf.items()]).sum(dim=0)
    loss = method.loss({**z, "fused": fused}, batch.labels)
    for name, values in z.items():
        each = torch.nn.functional.cross_entropy(values.detach(), batch.labels, reduction="none").tolist()
        history = [0.0] * (int(batch.indices.max()) + 1)
        for row, value in zip(batch.indices.tolist(), each, strict=True):
            history[row] += value
        t = [(history[row] - min(history)) / (max(history) - min(history)) for row in batch.indices.tolist()]
        for i in range(16):
            j = (i + 1) % 16
            sign, margin = (t[i] > t[j]) - (t[i] < t[j]), abs(t[i] - t[j])
            loss = loss + 2 * torch.relu(sign * (conf[name][i] - conf[name][j]) + margin) / 16
    model.zero_grad()
    loss.backward()
    expected = {name: w.grad for name, w in model.named_parameters() if not name.startswith("fusion")}
    assert_close(gradients(trainer, batch), expected)


def test_what_a_sample_lacks_neither_fuses_nor_counts(splits: Splits) -> None:
    trainer, batch = small_trainer(splits, QMF()), with_gaps(first_batch(splits), m0=[1, 2])
    before = trainer.model.eval()(batch.inputs).logits["fused"]
    trainer._step(batch)
    assert trainer.memory["history of m0"][batch.indices[[1, 2]]].tolist() == [0, 0]
    assert bool(trainer.memory["history of m1"][batch.indices[[1, 2]]].all())
    assert all(weight.isfinite().all() for weight in trainer.model.parameters())
    again = small_trainer(splits, QMF()).model.eval()
    with torch.no_grad():
        again.branch("m0").head.bias += 5
    assert torch.equal(again(batch.inputs).logits["fused"][[1, 2]], before[[1, 2]])


def test_a_copy_of_the_model_asks_its_own_heads(splits: Splits) -> None:
    model: Any = small_trainer(splits, QMF()).model
    copy = deepcopy(model)
    assert all(copy.fusion.heads[name] is copy.branch(name).head for name in copy.branches)
    assert not any(name.startswith("fusion") for name in model.state_dict()), "the heads are the branches' alone"
