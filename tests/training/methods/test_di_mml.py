"""Detached and interactive learning."""

from itertools import pairwise, permutations
from math import exp, log
from typing import Any

import pytest
import torch
from torch import Tensor

from bss.encoders.mlp import MLP
from bss.model import build_model
from bss.training import weights
from bss.training.loop import split_evidence
from bss.training.methods.di_mml import DIMML, contrast, effective, weighted_sum
from bss.training.methods.unimodal import Unimodal
from bss.types import FUSED, Split
from tests.helpers.steps import Splits, assert_same, first_batch, small_trainer

Rows = list[list[float]]


def slow_contrast(features: list[Rows], marks: list[list[bool]], temperature: float) -> float:
    """Ordered pair by ordered pair, sample by sample and partner by partner."""
    total = 0.0
    for m, n in permutations(range(len(features)), 2):
        dims = [d for d, mark in enumerate(marks[m]) if mark and not marks[n][d]]
        rows = [i for i in range(len(features[m])) if any(features[m][i]) and any(features[n][i])]
        for i in rows if dims else ():
            near = {j: exp(sum(features[n][i][d] * features[m][j][d] for d in dims) / temperature) for j in rows}
            total -= log(near[i] / sum(near.values())) / len(rows)
    return total


def slow_effective(features: Rows, labels: list[int], num_classes: int) -> list[bool]:
    """Dimension by dimension and sample by sample."""
    hits = []
    for column in zip(*features, strict=True):
        means = {}
        for k in range(num_classes):
            own = [value for value, y in zip(column, labels, strict=True) if y == k]
            if own:
                means[k] = sum(own) / len(own)
        nearest = [min((abs(value - mean), k) for k, mean in means.items())[1] for value in column]
        hits.append(sum(k == y for k, y in zip(nearest, labels, strict=True)))
    return [hit > sum(hits) / len(hits) for hit in hits]


@pytest.mark.parametrize("number", [2, 3, 6])
def test_the_contrast_equals_its_slow_reference(number: int) -> None:
    draws = torch.Generator().manual_seed(number)
    values, marks = torch.randn(number, 9, 5, generator=draws), torch.rand(number, 5, generator=draws) > 0.5
    values[0, :2] = 0  # these samples lack the first modality
    found = contrast(
        {f"m{m}": rows for m, rows in enumerate(values)}, {f"m{m}": row for m, row in enumerate(marks)}, 2.0
    )
    assert float(found) == pytest.approx(slow_contrast(values.tolist(), marks.tolist(), 2.0), rel=1e-5)


def test_the_contrast_by_hand() -> None:
    """Both dimensions are effective in a alone, so v learns from a, and a nothing."""
    v, a = torch.tensor([[1.0, 0], [0, 1]]).requires_grad_(), torch.tensor([[1.0, 0], [1, 1]]).requires_grad_()
    marks = {"a": torch.tensor([True, True]), "v": torch.tensor([False, False])}
    loss = contrast({"a": a, "v": v}, marks, 1.0)
    assert float(loss.detach()) == pytest.approx(0.503204, abs=1e-6)
    loss.backward()
    assert v.grad is not None
    assert v.grad.any()
    assert a.grad is None
    assert float(contrast({"a": a, "v": v}, {"a": marks["a"], "v": marks["a"]}, 1.0)) == 0


@pytest.mark.parametrize("seed", range(3))
def test_effective_dimensions_equal_their_slow_reference(seed: int) -> None:
    draws = torch.Generator().manual_seed(seed)
    labels = torch.tensor([0, 0, 1, 1, 3, 3, 3, 1, 0, 3])  # no sample of class 2
    features = torch.randn(10, 6, generator=draws) + labels[:, None] * torch.rand(6, generator=draws)
    found = effective(features, labels, 4).tolist()
    assert found == slow_effective(features.tolist(), labels.tolist(), 4)
    assert any(found)


def test_a_prediction_by_hand() -> None:
    """Two classes, so that the logits log p, log(1 - p) have the largest probability p."""
    p = torch.tensor([0.9, 0.6, 0.8])
    logits = {
        name: torch.stack([own.log(), (1 - own).log()])[None] for name, own in zip(["a", "v", FUSED], p, strict=True)
    }
    w = [0.377978, 0.280013, 0.342009]
    wanted = [
        sum(own * log(float(q)) for own, q in zip(w, p, strict=True)),
        sum(own * log(1 - float(q)) for own, q in zip(w, p, strict=True)),
    ]
    assert weighted_sum(logits, 1.0)[0].tolist() == pytest.approx(wanted, abs=1e-5)
    one = weighted_sum(logits, 1e-3)[0]
    assert one.tolist() == pytest.approx(logits["a"][0].tolist()), "the surest decides"


def slow_loss(trainer: Any, batch: Any, method: DIMML) -> float:
    model, total = trainer.model.train(), 0.0
    outputs = model(batch.inputs)
    for name in model.branches:
        for rows, weight in (
            (outputs.logits[name], 1.0), (model.shared(outputs.features[name]), method.shared_weight)
        ):  # fmt: skip
            for row, y in zip(rows.tolist(), batch.labels.tolist(), strict=True):
                total -= weight * log(exp(row[y]) / sum(map(exp, row))) / len(batch.labels)
    features = [outputs.features[name].tolist() for name in model.branches]
    marks = [trainer.memory[f"effective in {name}"].tolist() for name in model.branches]
    return total + method.contrast_weight * slow_contrast(features, marks, method.temperature)


def test_a_step_minimises_the_slow_loss(splits: Splits) -> None:
    method = DIMML(starts=0, shared_weight=0.7, contrast_weight=0.3, temperature=2.0)
    trainer, batch = small_trainer(splits, method), first_batch(splits)
    evidence = split_evidence(trainer.module, splits[Split.TRAIN], 16, trainer.runtime)
    method.begin_epoch(trainer, 0, lambda: evidence, pytest.fail)
    for name in trainer.model.branches:
        features = evidence.features[name]  # type: ignore[index]
        wanted = slow_effective(features.tolist(), evidence.labels.tolist(), 3)
        assert trainer.memory[f"effective in {name}"].tolist() == wanted
    method.begin_epoch(trainer, 1, pytest.fail, pytest.fail)
    wanted_loss = slow_loss(trainer, batch, method)
    outputs, loss = method.step(trainer, batch)
    assert len({values.shape[1] for values in outputs.features.values()}) == 1
    assert float(loss.detach()) == pytest.approx(wanted_loss, rel=1e-5)
    assert list(outputs.logits) == [*trainer.model.branches, FUSED]


def alike(splits: Splits) -> dict[str, Any]:
    return {name: MLP(width=8) for name in splits[Split.TRAIN].meta.modalities}


def test_without_its_losses_the_first_phase_is_unimodal(splits: Splits) -> None:
    batch, found = first_batch(splits), []
    for method in (DIMML(shared_weight=0, contrast_weight=0), Unimodal(), DIMML()):
        trainer = small_trainer(splits, method, encoders=alike(splits))
        trainer.train_epoch([batch] * 2, 0.01)
        found.append({n: v for n, v in weights.take(trainer.model).items() if n.startswith("branches.")})
    neutral, unimodal, default = found
    assert_same(neutral, unimodal)
    assert not torch.equal(default["branches.m0.encoder.1.weight"], unimodal["branches.m0.encoder.1.weight"])


def test_then_the_fusion_trains_alone(splits: Splits) -> None:
    method, batch = DIMML(alone_epochs=1), first_batch(splits)
    trainer = small_trainer(splits, method, encoders={})
    states = [weights.take(trainer.model)]
    for epoch in range(2):
        method.begin_epoch(trainer, epoch, pytest.fail, pytest.fail)
        trainer.train_epoch([batch] * 2, 0.01)
        states.append(weights.take(trainer.model))
    for parts, (before, after) in zip(({"branches", "shared"}, {"fusion"}), pairwise(states), strict=True):
        assert {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])} == parts
    assert any("running" in name for name in states[0])


def test_the_second_phase_minimises_the_fused_loss(splits: Splits) -> None:
    method, batch = DIMML(alone_epochs=1), first_batch(splits)
    trainer = small_trainer(splits, method)
    trainer.epoch = 1
    features = trainer.model(batch.inputs).features
    logits = trainer.model.fusion(features)  # type: ignore[misc]
    _, loss = method.step(trainer, batch)
    assert float(loss.detach()) == pytest.approx(
        float(torch.nn.functional.cross_entropy(logits.detach(), batch.labels)), rel=1e-6
    )


def test_what_is_exported_says_the_same(splits: Splits) -> None:
    meta, batch = splits[Split.TRAIN].meta, first_batch(splits)
    unlike = {name: MLP(width=6 + 2 * place) for place, name in enumerate(meta.modalities)}
    trained, given = (build_model(meta, unlike, seed) for seed in (0, 1))
    DIMML().prepare(trained)
    wanted = trained.eval()(batch.inputs).logits
    of_all: dict[str, Tensor] = {name: wanted[name] for name in trained.branches}
    of_all[FUSED] = trained.fusion(trained(batch.inputs).features)  # type: ignore[misc]
    assert torch.allclose(wanted[FUSED], weighted_sum(of_all, 1.0))
    DIMML().export(trained)
    assert_same(trained(batch.inputs).logits, wanted)
    DIMML().prepare_exported(given)
    given.load_state_dict(trained.state_dict())
    assert_same(given.eval()(batch.inputs).logits, wanted)
