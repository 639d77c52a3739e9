"""Adaptive gradient modulation."""

from itertools import permutations
from math import exp
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bss.encoders.fusions.gated import Gated
from bss.measure.shapley import shapley_values
from bss.training.methods.agm import AGM, leads, scores, split
from bss.training.methods.joint import Joint
from tests.helpers.gaps import with_gaps
from tests.helpers.steps import Splits, assert_close, assert_same, first_batch, gradients, small_trainer
from tests.helpers.toy import packed_toy

A, V = torch.tensor([[2.0, 0.5, -1], [0.2, 1.5, 0.3]]), torch.tensor([[0.1, 0.4, 0.2], [1.0, -0.5, 0.6]])


def test_parts_by_hand() -> None:
    none, a, v = frozenset[str](), frozenset("a"), frozenset("v")
    of_two = {none: [0.0] * 3, a: [0.8, 0.1, 0], v: [0.3, 0.4, -0.2], a | v: [1, 0.2, -0.5]}
    found = shapley_values({some: torch.tensor(values) for some, values in of_two.items()})
    assert found["a"].tolist() == pytest.approx([0.75, -0.05, -0.15])
    assert found["v"].tolist() == pytest.approx([0.25, 0.25, -0.35])
    t = frozenset("t")
    of_three = {none: 0.0, a: 0.5, v: 0.3, t: 0.2, a | v: 0.9, a | t: 0.6, v | t: 0.4, a | v | t: 1.1}
    three = shapley_values({some: torch.tensor(value) for some, value in of_three.items()})
    assert [float(three[name]) for name in "avt"] == pytest.approx([0.566667, 0.366667, 0.166667], abs=1e-6)


def test_coefficients_by_hand() -> None:
    current = scores([A, V], torch.tensor([0, 1]))
    assert current.tolist() == pytest.approx([0.347379, 1.689116], abs=1e-6)
    assert leads(current).tolist() == pytest.approx([3.825684, 0.261391], abs=1e-5)
    memory = {"scores": torch.tensor([0.9, 1.1]).double(), "steps": torch.tensor(10)}
    assert AGM().coefficients(memory, current).tolist() == pytest.approx([0.073956, 1.746021], abs=1e-5)
    assert memory["scores"].tolist() == pytest.approx([0.849762, 1.153556], abs=1e-6)
    memory = {"scores": torch.tensor([0.6, 0.7, 1.2]).double(), "steps": torch.tensor(10)}
    three = AGM(alpha=0.1).coefficients(memory, torch.tensor([0.5, 0.8, 1.4]).double())
    assert three.tolist() == pytest.approx([0.960496, 1.005975, 1.010513], abs=1e-6)


def slow_parts(
    model: Any, features: dict[str, Tensor], nothing: dict[str, Tensor] | None = None, whole: Tensor | None = None
) -> dict[str, Tensor]:
    """What each modality adds, over all orders in which they come."""
    away = nothing or {name: torch.zeros_like(values) for name, values in features.items()}
    found = {name: torch.tensor(0.0) for name in features}
    orders = list(permutations(features))
    for order in orders:
        here: set[str] = set()
        before = torch.tensor(0.0)
        for name in order:
            here.add(name)
            after = model({n: v if n in here else away[n] for n, v in features.items()})
            if whole is not None and len(here) == len(features):
                after = whole
            found[name] = found[name] + (after - before) / len(orders)
            before = after
    return found


@pytest.mark.parametrize("fusion", [None, Gated(width=4)], ids=["concat", "gated"])
def test_a_step_is_the_slow_one(splits: Splits, fusion: Gated | None) -> None:
    batch = first_batch(splits)
    trainer = small_trainer(splits, AGM(clip=None, fused_weight=0.7, unimodal_weight=0.3), fusion)
    model: Any = small_trainer(splits, Joint(), fusion).model.train()
    outputs = model(batch.inputs)
    parts = slow_parts(model.fusion, outputs.features)
    assert torch.allclose(sum(parts.values()), outputs.logits["fused"], atol=1e-5)
    s = [float(nn.functional.cross_entropy(values.detach(), batch.labels)) for values in parts.values()]
    number = len(s)
    kappa = [exp(1 - exp((sum(s) / number - own) * number / (number - 1))) for own in s]
    assert max(kappa) - min(kappa) > 0.001
    at_sum = [values.detach() for values in parts.values()]
    total = torch.stack(at_sum).sum(dim=0).requires_grad_()
    (0.7 * nn.functional.cross_entropy(total, batch.labels)).backward()
    model.zero_grad()
    arrives: Any = total.grad
    loss = torch.tensor(0.0)
    for k, values in zip(kappa, parts.values(), strict=True):
        loss = loss + k * (values * arrives).sum()
    for name in model.branches:
        loss = loss + 0.3 * nn.functional.cross_entropy(outputs.logits[name], batch.labels)
    loss.backward()
    assert_close(gradients(trainer, batch), {name: w.grad for name, w in model.named_parameters()})


def test_without_strength_and_outside_its_epochs_it_is_joint(splits: Splits) -> None:
    batch = first_batch(splits)
    joint, none, later, default = (
        gradients(small_trainer(splits, method), batch)
        for method in (Joint(), AGM(alpha=0, clip=None), AGM(starts=1, clip=None), AGM())
    )
    assert_same(none, joint)
    assert_same(later, joint)
    assert any(not torch.equal(default[name], values) for name, values in joint.items())


def test_the_mean_of_the_scores_is_over_all_steps_since_the_start(splits: Splits) -> None:
    batch, found = first_batch(splits), {}
    for starts in (0, 1):
        trainer = small_trainer(splits, AGM(starts=starts))
        gradients(trainer, batch)
        found[starts] = trainer.memory
    assert int(found[1]["steps"]) == 1
    assert torch.equal(found[1]["scores"], found[0]["scores"])
    ended = small_trainer(splits, AGM(ends=0))
    gradients(ended, batch)
    assert not ended.memory


def test_a_large_gradient_of_the_fusion_clips_all(splits: Splits) -> None:
    batch, found = first_batch(splits), []
    for clip in (None, 0.1):
        trainer = small_trainer(splits, AGM(clip=clip, fused_weight=100))
        found.append(gradients(trainer, batch))
    assert float(found[0]["fusion.weight"].abs().max()) > 1
    length = torch.cat([values.flatten() for values in found[0].values()]).norm()
    assert_close(found[1], {name: values * 0.1 / length for name, values in found[0].items()})


@pytest.mark.parametrize("fusion", [None, Gated(width=4)], ids=["concat", "gated"])
def test_inputs_may_be_padded_as_in_the_code(splits: Splits, fusion: Gated | None) -> None:
    """Encoders with batch statistics; a sample lacks a modality."""
    batch = with_gaps(first_batch(splits), m0=[2])
    trainer = small_trainer(splits, AGM(padding="inputs", clip=None, unimodal_weight=0), fusion, encoders={})
    model: Any = small_trainer(splits, Joint(), fusion, encoders={}).model
    names = list(model.branches)
    whole = model.train()(batch.inputs).logits["fused"]
    zeros = {name: torch.zeros(16, *batch.inputs[name].shape[1:]) for name in names}
    model.eval()
    blank = {name: model.branch(name).encoder(values) for name, values in zeros.items()}
    blank["m0"] = blank["m0"].index_fill(0, torch.tensor([2]), 0.0)
    features = model(batch.inputs).features
    parts = slow_parts(model.fusion, features, blank, whole)
    assert torch.allclose(sum(parts.values()), whole, atol=1e-5)
    seen = [1.0 + place for place in range(len(names))]
    trainer.memory |= {"scores": torch.tensor(seen).double(), "steps": torch.tensor(10)}
    s = [float(nn.functional.cross_entropy(values.detach(), batch.labels)) for values in parts.values()]

    def lead(scores: list[float], place: int) -> float:
        return exp((sum(scores) / len(scores) - scores[place]) * len(scores) / (len(scores) - 1))

    kappa = [exp(min(lead(seen, place) - lead(s, place), 10)) for place in range(len(names))]
    assert max(kappa) > 2 * min(kappa)
    total = whole.detach().requires_grad_()
    (arrives,) = torch.autograd.grad(nn.functional.cross_entropy(total, batch.labels), total)
    torch.stack([k * (part * arrives).sum() for k, part in zip(kappa, parts.values(), strict=True)]).sum().backward()
    wanted = {n: torch.zeros_like(w) if w.grad is None else w.grad for n, w in model.named_parameters()}
    assert_close(gradients(trainer, batch), wanted, atol=1e-5)
    assert_same(dict(trainer.model.named_buffers()), dict(model.named_buffers()))


def test_five_modalities_need_a_linear_fusion(tmp_path_factory: pytest.TempPathFactory) -> None:
    five = packed_toy(tmp_path_factory.mktemp("five"), 5)
    trainer = small_trainer(five, AGM())
    outputs = trainer.model(first_batch(five).inputs)
    trainer._num_rows = 16
    parts = split(trainer, outputs.features, outputs.logits["fused"])
    assert torch.allclose(sum(parts.values()), outputs.logits["fused"], atol=1e-5)
    for method, fusion in ((AGM(), Gated(width=4)), (AGM(padding="inputs"), None)):
        with pytest.raises(ValueError, match="all sets of 4 modalities at most; here are 5"):
            small_trainer(five, method, fusion)
