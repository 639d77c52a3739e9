"""Mixtures of two modalities' features on the sphere."""

from itertools import combinations
from math import acos, exp, log, sin, sqrt
from typing import Any

import pytest
import torch

from bss.training.methods.iprm import IPRM, new_share, slerp
from bss.training.methods.joint import Joint
from tests.helpers.gaps import with_gaps
from tests.helpers.steps import Splits, assert_same, first_batch, gradients, small_trainer


def slow_slerp(one: list[float], other: list[float], share: float) -> list[float]:
    units = [[value / sqrt(sum(v * v for v in row)) for value in row] for row in (one, other)]
    angle = acos(sum(a * b for a, b in zip(*units, strict=True)))
    first, second = sin(share * angle) / sin(angle), sin((1 - share) * angle) / sin(angle)
    return [first * a + second * b for a, b in zip(*units, strict=True)]


def slow_share(one: list[list[float]], other: list[list[float]], mixed: list[list[float]]) -> float:
    totals = [0.0, 0.0]
    for rows in zip(one, other, mixed, strict=True):
        p = [[exp(value) / sum(map(exp, row)) for value in row] for row in rows]
        for place in (0, 1):
            totals[place] += sum(a * log(a / b) for a, b in zip(p[place], p[2], strict=True))
    return totals[1] / sum(totals)


def test_mixtures_by_hand() -> None:
    x, y = torch.tensor([[1.0, 0]]), torch.tensor([[0.0, 2]])
    assert slerp(x, y, 0.5)[0].tolist() == pytest.approx([0.707107, 0.707107], abs=1e-6)
    assert slerp(x, y, 0.75)[0].tolist() == pytest.approx([0.923880, 0.382683], abs=1e-6)


def test_mixtures_equal_their_slow_reference() -> None:
    torch.manual_seed(0)
    one, other = torch.randn(20, 5), torch.randn(20, 5)
    for share in (0.0, 0.3, 1.0):
        found = slerp(one, other, share)
        assert found.norm(dim=1).tolist() == pytest.approx([1] * 20, abs=1e-4)
        for row in range(20):
            expected = slow_slerp(one[row].tolist(), other[row].tolist(), share)
            assert found[row].tolist() == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("factor", [2.0, -3.0, 0.0])
def test_parallel_opposite_and_absent_features_have_a_mixture(share: float, factor: float) -> None:
    one = torch.tensor([[0.6, 0.8], [1.0, 0.0]], requires_grad=True)
    found = slerp(one, factor * one, share)
    found.sum().backward()
    assert found.isfinite().all()
    assert one.grad is not None
    assert one.grad.isfinite().all()
    if factor > 0:
        assert torch.allclose(found, one, atol=1e-3)


def test_shares_equal_their_slow_reference() -> None:
    one, other, mixed = torch.randn(3, 20, 4, generator=torch.Generator().manual_seed(0))
    expected = slow_share(one.tolist(), other.tolist(), mixed.tolist())
    assert float(new_share(one, other, mixed)) == pytest.approx(expected, rel=1e-4)
    assert float(new_share(one, other, one)) == pytest.approx(1)
    assert float(new_share(one, one, one)) == 0.5
    gappy = mixed.clone()
    gappy[3:] = 0
    few = slow_share(one[:3].tolist(), other[:3].tolist(), mixed[:3].tolist())
    assert float(new_share(one, other, gappy)) == pytest.approx(few, rel=1e-4)


def test_steps_are_the_slow_ones(splits: Splits) -> None:
    """Two steps without an update: what the second one looks with is of the first."""
    batch = first_batch(splits)
    trainer = small_trainer(splits, IPRM(kept=0.6, fused_weight=0.7, unimodal_weight=0.3))
    model: Any = trainer.model.train()
    rule = model.fusion.rule
    with torch.no_grad():
        outputs = model(batch.inputs)
    names = list(model.branches)
    wide = {n: rule.widened[n](v) if n in rule.widened else v for n, v in outputs.features.items()}

    def mixed(pair: int, share: float) -> torch.Tensor:
        one, other = list(combinations(names, 2))[pair]
        rows = [slow_slerp(*each, share) for each in zip(wide[one].tolist(), wide[other].tolist(), strict=True)]
        return rule.mixed[pair](torch.tensor(rows))  # type: ignore[no-any-return]

    share, newest = [0.5] * len(rule.mixed), [0.5] * len(rule.mixed)
    trainer.update = model.zero_grad  # type: ignore[method-assign]
    for _ in range(2):
        share = [0.6 * old + 0.4 * new for old, new in zip(share, newest, strict=True)]
        _, loss = trainer.method.step(trainer, batch)
        total = 0.0
        with torch.no_grad():
            for pair, (one, other) in enumerate(combinations(names, 2)):
                x, y = outputs.logits[one].tolist(), outputs.logits[other].tolist()
                newest[pair] = slow_share(x, y, mixed(pair, share[pair]).tolist())
                total += 0.7 * float(torch.nn.functional.cross_entropy(mixed(pair, newest[pair]), batch.labels))
            for name in names:
                total += 0.3 * float(torch.nn.functional.cross_entropy(outputs.logits[name], batch.labels))
        assert rule.share.tolist() == pytest.approx(share, abs=1e-4)
        assert rule.newest.tolist() == pytest.approx(newest, abs=1e-4)
        assert float(loss.detach()) == pytest.approx(total, rel=1e-4)
    expected = sum(outputs.logits[name] for name in names)
    expected = expected + sum(mixed(pair, share[pair]) for pair in range(len(share))) / len(share)
    assert torch.allclose(model(batch.inputs).logits["fused"], expected, atol=1e-3)
    assert any(abs(value - 0.5) > 0.001 for value in newest)


def test_one_pair_a_step_leaves_the_others_as_they_are(splits: Splits) -> None:
    batch, settings = first_batch(splits), {"kept": 0.6, "unimodal_weight": 0.1}
    trainer = small_trainer(splits, IPRM(pairs="one", **settings))
    rule: Any = trainer.model.train().fusion.rule
    number, seen = len(rule.share), set()
    assert len(rule.mixed) == 1, "one head for all pairs"
    for step in range(12):
        trainer.num_steps = step
        share, newest = rule.share.clone(), rule.newest.clone()
        handed = gradients(trainer, batch)
        (place,) = trainer.method._places(trainer)  # type: ignore[attr-defined]
        seen.add(place)
        assert handed["fusion.rule.mixed.0.weight"].any()
        for other in range(number):
            if other != place:
                assert rule.share[other] == share[other]
                assert rule.newest[other] == newest[other]
        assert float(rule.share[place]) == pytest.approx(float(0.6 * share[place] + 0.4 * newest[place]))
    assert len(seen) == number
    if number == 1:
        both = (small_trainer(splits, IPRM(pairs=pairs, **settings)) for pairs in ("one", "all"))
        assert_same(*(gradients(each, batch) for each in both))


def test_without_mixtures_the_branches_train_as_in_joint(splits: Splits) -> None:
    batch = first_batch(splits)
    found, joint = (
        gradients(small_trainer(splits, method), batch) for method in (IPRM(fused_weight=0), Joint(fused_weight=0))
    )
    branches = [{n: g for n, g in each.items() if n.startswith("branches")} for each in (found, joint)]
    assert_same(*branches)


def test_a_pair_of_which_a_sample_lacks_one_says_nothing(splits: Splits) -> None:
    trainer, batch = small_trainer(splits, IPRM()), with_gaps(first_batch(splits), m0=[1, 2])
    trainer.update = lambda: None  # type: ignore[method-assign]
    model: Any = trainer.model.eval()
    outputs = model(batch.inputs)
    mixtures = model.fusion.rule.mixtures(outputs.features, model.fusion.rule.share)
    assert not mixtures[[1, 2], 0].any()
    assert mixtures[3, 0].any()
    modalities = sum(outputs.logits[name] for name in model.branches)
    for row, mixed in enumerate(mixtures):
        known = [of_pair for of_pair in mixed if of_pair.any()]
        expected = modalities[row] + (sum(known) / len(known) if known else 0)
        assert torch.allclose(outputs.logits["fused"][row], expected, atol=1e-5)
    pairs = list(combinations(model.branches, 2))
    _, loss = trainer.method.step(trainer, batch)
    with torch.no_grad():
        mixed = model.fusion.rule.mixtures(outputs.features, model.fusion.rule.newest).log_softmax(dim=2)
    total = Joint().loss({name: outputs.logits[name] for name in model.branches}, batch.labels)
    for row, label in enumerate(batch.labels.tolist()):
        there = [place for place, pair in enumerate(pairs) if "m0" not in pair or row not in (1, 2)]
        total = total - sum(mixed[row, place, label] for place in there) / 16
    assert float(loss.detach()) == pytest.approx(float(total.detach()), rel=1e-5)
    assert all(gradient.isfinite().all() for gradient in gradients(trainer, batch).values())
