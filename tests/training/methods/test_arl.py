"""Asymmetric representation learning."""

from math import exp, log
from typing import Any, Literal

import pytest
import torch

from bss.training.methods.arl import ARL, dependence
from bss.training.methods.fused_only import FusedOnly
from tests.helpers.gaps import with_gaps
from tests.helpers.steps import Splits, assert_close, assert_same, first_batch, gradients, small_trainer

Variant = Literal["published", "released"]


def slow_dependence(entropies: list[float], sizes: list[float], temperature: float) -> list[float]:
    number = len(entropies)
    shares = [max(value / sum(entropies), 0.6 / number) for value in entropies]
    inverse = [1 / share for share in shares]
    powers = [
        exp(temperature * w / sum(inverse) * (1 - size / sum(sizes))) for w, size in zip(inverse, sizes, strict=True)
    ]
    return [power / sum(powers) for power in powers]


def test_two_modalities_by_hand() -> None:
    found = dependence(torch.tensor([0.5, 1.5]), torch.tensor([0.7, 0.3]), 8)
    assert found.tolist() == pytest.approx([0.528540, 0.471460], abs=1e-6)


@pytest.mark.parametrize("number", [2, 3, 6])
def test_the_shares_equal_their_slow_reference(number: int) -> None:
    alone = (
        torch.randn(number, 20, 4, generator=torch.Generator().manual_seed(number))
        * torch.arange(1, number + 1)[:, None, None]
    )
    entropies, sizes = [], []
    for u in alone.tolist():
        total, size = 0.0, 0.0
        for row in u:
            p = [exp(value) / sum(map(exp, row)) for value in row]
            total -= sum(value * log(value) for value in p)
            size += sum(map(abs, row)) / len(row)
        entropies.append(total / len(u))
        sizes.append(size / len(u))
    found = ARL(temperature=5).shares(list(alone))
    assert found.tolist() == pytest.approx(slow_dependence(entropies, sizes, 5), rel=1e-4)
    assert ARL(variant="released").shares(list(alone)).tolist() == pytest.approx([1 / number] * number)


def test_nothing_to_share_is_shared_alike() -> None:
    none = [torch.zeros(4, 3), torch.zeros(4, 3), torch.zeros(0, 3)]
    assert ARL().shares(none[:2]).tolist() == pytest.approx([0.5, 0.5])
    assert ARL().shares([1e4 * torch.eye(3)] * 2).tolist() == pytest.approx([0.5, 0.5])
    assert ARL().shares(none).isfinite().all()


@pytest.mark.parametrize("variant", ["published", "released"])
@pytest.mark.parametrize("epoch", [0, 2])
def test_a_step_is_the_slow_one(splits: Splits, variant: Variant, epoch: int) -> None:
    batch = first_batch(splits)
    trainer = small_trainer(splits, ARL(variant=variant, gamma=3, fused_weight=0.7, unimodal_weight=0.3))
    trainer.epoch = epoch
    model: Any = small_trainer(splits, FusedOnly()).model.train()
    outputs = model(batch.inputs)
    names, cross_entropy = list(model.branches), torch.nn.functional.cross_entropy
    alone = [model.fusion({n: v * (n == name) for n, v in outputs.features.items()}) for name in names]
    loss = 0.7 * cross_entropy(outputs.logits["fused"], batch.labels)
    loss = loss + (3 if epoch else 1) * sum(cross_entropy(u, batch.labels) for u in alone)
    loss = loss + 0.3 * sum(cross_entropy(outputs.logits[name], batch.labels) for name in names)
    loss.backward()
    p = [u.detach().softmax(dim=1) for u in alone]
    entropies = [float(-(each * each.log()).sum(dim=1).mean()) for each in p]
    q = slow_dependence(entropies, [float(u.detach().abs().mean()) for u in alone], 8)
    if variant == "released":
        q = [1 / len(names)] * len(names)
    expected = {}
    for name, weight in model.named_parameters():
        part = name.split(".")
        scaled = epoch and part[2:3] == ["encoder"]
        expected[name] = weight.grad * (1 + q[names.index(part[1])] if scaled else 1)
    assert_close(gradients(trainer, batch), expected)


def test_without_its_losses_and_scales_it_is_fused_only(splits: Splits) -> None:
    batch = first_batch(splits)
    trainer = small_trainer(splits, ARL(gamma=0, variant="released", starts=0))
    found, plain = gradients(trainer, batch), gradients(small_trainer(splits, FusedOnly()), batch)
    factor = 1 + 1 / len(trainer.model.branches)
    expected = {name: g * (factor if ".encoder." in name else 1) for name, g in plain.items()}
    assert_close(found, expected, atol=1e-7)
    assert_same({n: g for n, g in found.items() if ".head." in n}, {n: g for n, g in plain.items() if ".head." in n})


def test_what_a_sample_lacks_counts_nowhere(splits: Splits) -> None:
    batch = with_gaps(first_batch(splits), m0=[1, 2])
    trainer = small_trainer(splits, ARL(fused_weight=0, unimodal_weight=1e-9))
    model: Any = small_trainer(splits, FusedOnly()).model.train()
    features = model(batch.inputs).features
    total = 0.0
    for name in features:
        alone = model.fusion({n: v * (n == name) for n, v in features.items()}).log_softmax(dim=1)
        rows = [row for row in range(16) if name != "m0" or row not in (1, 2)]
        total -= sum(float(alone[row, batch.labels[row]].detach()) for row in rows) / 16
    _, loss = trainer.method.step(trainer, batch)
    assert float(loss.detach()) == pytest.approx(total, rel=1e-5)
    for rows in ([1, 2], list(range(16))):
        trainer = small_trainer(splits, ARL(starts=0))
        found = gradients(trainer, with_gaps(first_batch(splits), m0=rows))
        assert all(gradient.isfinite().all() for gradient in found.values())
    assert not any(found[name].any() for name in found if name.startswith("branches.m0"))
