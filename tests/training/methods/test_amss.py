"""Adaptive mask subnetworks."""

from collections import Counter
from math import ceil, exp, log
from typing import Any

import pytest
import torch

from bss.training.methods.amss import AMSS
from bss.training.methods.joint import Joint
from tests.helpers.steps import Splits, assert_same, first_batch, gradients, small_trainer

Rows = list[list[float]]


def softmax(row: list[float]) -> list[float]:
    total = sum(map(exp, row))
    return [exp(value) / total for value in row]


def slow_information(logits: Rows, features: Rows, labels: list[int], released: bool) -> float:
    """Sample by sample, over those that have the modality."""
    rows = [i for i, values in enumerate(features) if any(values)]
    share = [sum(labels[i] == k for i in rows) / len(rows) for k in range(len(logits[0]))]
    if released:
        of_labels = -sum(s * log(q) for s, q in zip(share, softmax(share), strict=True))
    else:
        of_labels = -sum(s * log(s) for s in share if s)
    lost = -sum(log(softmax(logits[i])[labels[i]]) for i in rows) / len(rows)
    spread = -sum(p * log(p) for i in rows for p in softmax(features[i])) / len(rows)
    return (of_labels - lost + 0.5) / spread


@pytest.mark.parametrize("variant", ["published", "released"])
def test_the_information_equals_its_slow_reference(variant: Any) -> None:
    draws = torch.Generator().manual_seed(0)
    logits, features = torch.randn(12, 4, generator=draws), torch.randn(12, 5, generator=draws)
    features[:3] = 0  # these samples lack the modality
    labels = torch.arange(12) % 3
    found = AMSS(variant=variant).information(logits, features, labels)
    wanted = slow_information(logits.tolist(), features.tolist(), labels.tolist(), variant == "released")
    assert found == pytest.approx(wanted, rel=1e-6)
    assert AMSS().information(logits, torch.zeros(12, 5), labels) == 0


def test_shares_by_hand() -> None:
    found = AMSS().shares({"a": 0.4, "v": 0.1})
    assert found == pytest.approx({"a": 0.182426, "v": 0.817574}, abs=1e-6)
    assert [ceil(64 * share) for share in found.values()] == [12, 53]
    assert AMSS().shares({"a": 5.0, "v": 0.1}) == {"a": 0.1, "v": 0.9}
    assert AMSS().shares({"a": 5.0, "v": -0.1}) == {"a": 0.5, "v": 0.5}
    three = AMSS(least=0.01, most=1).shares({"a": 0.4, "v": 0.1, "t": 0.3})
    powers = {"a": exp(-2), "v": exp(-0.5), "t": exp(-1.5)}
    assert three == pytest.approx({name: 1.5 * power / sum(powers.values()) for name, power in powers.items()})


@pytest.mark.parametrize("plus", [False, True])
def test_some_rows_stay(plus: bool) -> None:
    given = torch.randn(64, 3, 2, generator=torch.Generator().manual_seed(0))
    masked = given.clone()
    AMSS(plus=plus).mask(masked, 0.182426, torch.Generator().manual_seed(1))
    kept = [place for place in range(64) if masked[place].any()]
    assert len(kept) == 12
    total = float(given.square().sum())
    for place in kept:
        pi = float(given[place].square().sum()) / total
        assert torch.allclose(masked[place], given[place] * (1 / (pi + 1 / 64) if plus else 1)), place


def test_rows_are_drawn_by_their_squared_gradients() -> None:
    """The first two draws without replacement, against their probabilities."""
    given, draws = torch.tensor([[1.0], [2.0], [3.0], [0.0]]), torch.Generator().manual_seed(0)
    pi = [1 / 14, 4 / 14, 9 / 14]
    counts: Counter[tuple[int, ...]] = Counter()
    for _ in range(4000):
        gradient = given.clone()
        AMSS().mask(gradient, 0.5, draws)
        counts[tuple(gradient.flatten().nonzero().flatten().tolist())] += 1
    for one, other in ((0, 1), (0, 2), (1, 2)):
        wanted = pi[one] * pi[other] / (1 - pi[one]) + pi[other] * pi[one] / (1 - pi[other])
        assert counts[(one, other)] / 4000 == pytest.approx(wanted, abs=0.03)
    assert sum(counts.values()) == sum(counts[pair] for pair in ((0, 1), (0, 2), (1, 2)))


def test_a_gradient_of_zeros_stays() -> None:
    gradient = torch.zeros(4, 2)
    AMSS(plus=True).mask(gradient, 0.5, torch.Generator())
    assert not gradient.any()


@pytest.mark.parametrize("convolutions", [False, True])
@pytest.mark.parametrize("variant", ["published", "released"])
def test_a_step_masks_the_encoders_alone(splits: Splits, variant: Any, convolutions: bool) -> None:
    encoders: Any = {} if convolutions else None
    batch = first_batch(splits)
    plain, masked = (
        gradients(small_trainer(splits, method, encoders=encoders), batch)
        for method in (Joint(), AMSS(variant=variant, least=0.3, most=0.3))
    )
    changed = 0
    for name, values in masked.items():
        fits = plain[name].ndim == 4 if variant == "released" else plain[name].ndim > 1
        if ".encoder." in name and fits and plain[name].any():
            kept = values.flatten(1).any(dim=1)
            number = ceil(0.3 * len(values))
            assert int(kept.sum()) == min(number, int(plain[name].flatten(1).any(dim=1).sum())), name
            assert torch.equal(values, plain[name] * kept.view(-1, *[1] * (values.ndim - 1))), name
            changed += 1
        else:
            assert torch.equal(values, plain[name]), name
    assert bool(changed) == (convolutions or variant == "published")


@pytest.mark.parametrize("plus", [False, True])
def test_with_all_rows_it_is_joint(splits: Splits, plus: bool) -> None:
    batch = first_batch(splits)
    joint, all_rows, default = (
        gradients(small_trainer(splits, method), batch)
        for method in (Joint(), AMSS(least=1, most=1, plus=plus), AMSS())
    )
    assert_same(all_rows, joint)
    assert any(not torch.equal(default[name], values) for name, values in joint.items())


def test_least_above_most_is_refused() -> None:
    with pytest.raises(ValueError, match=r"least is 0\.5, above most \(0\.4\)"):
        AMSS(least=0.5, most=0.4)
