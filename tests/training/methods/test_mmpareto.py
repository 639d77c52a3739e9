"""MMPareto against its equations."""

from math import sqrt
from typing import Any, Literal

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from bss.encoders.fusions.gated import Gated
from bss.encoders.mlp import MLP
from bss.model import build_model
from bss.training.methods.joint import Joint
from bss.training.methods.mmpareto import MMPareto
from bss.training.runtime import Runtime
from bss.training.trainer import Trainer
from bss.types import Split
from tests.helpers.steps import (
    Splits,
    assert_close,
    assert_same,
    first_batch,
    gradients,
    slow_gradients,
    small_trainer,
    trained_weights,
)  # fmt: skip
from tests.helpers.toy import SETTINGS, TRAIN


def dot(first: list[float], second: list[float]) -> float:
    return sum(a * b for a, b in zip(first, second, strict=True))


def slow_shortest(fused: list[float], own: list[float]) -> float:
    """The weight of the fused gradient in the shortest mean of the two, by trisection."""
    low, high = 0.0, 1.0
    sizes = dot(fused, fused), dot(fused, own), dot(own, own)

    def size(k: float) -> float:
        return k * k * sizes[0] + 2 * k * (1 - k) * sizes[1] + (1 - k) ** 2 * sizes[2]

    for _ in range(100):
        left, right = low + (high - low) / 3, high - (high - low) / 3
        low, high = (low, right) if size(left) < size(right) else (left, high)
    return (low + high) / 2


def slow_combined(fused: list[Tensor], own: list[Tensor], gamma: float, *, whole: bool) -> list[Tensor]:
    flat = [torch.cat([gradient.flatten() for gradient in of_one]).double().tolist() for of_one in (fused, own)]
    k = 0.5 if dot(*flat) > 0 else slow_shortest(*flat)
    new = [2 * k * a.double() + 2 * (1 - k) * b.double() for a, b in zip(fused, own, strict=True)]
    plain = [a.double() + b.double() for a, b in zip(fused, own, strict=True)]

    def length(parts: list[Tensor]) -> float:
        return sqrt(sum(float((part**2).sum()) for part in parts))

    found = []
    for number, part in enumerate(new):
        chosen = slice(None) if whole else slice(number, number + 1)
        factor = max(1.0, length(plain[chosen]) / length(new[chosen]))
        found.append((gamma * factor * part).float())
    return found


def in_conflict(trainer: Trainer, modality: str) -> None:
    """Turn a modality's head round, so that its loss pulls at the encoder against the fusion's."""
    fusion, start = trainer.model.fusion, 0
    assert isinstance(fusion, nn.Linear)
    with torch.no_grad():
        for name in trainer.model.branches:
            head = trainer.model.branch(name).head
            if name == modality:
                head.weight.copy_(-3 * fusion.weight[:, start : start + head.in_features])
            else:
                head.weight.copy_(fusion.weight[:, start : start + head.in_features])
            start += head.in_features


@pytest.mark.parametrize("variant", ["published", "released"])
def test_a_step_is_the_slow_one(variant: Any, splits: Splits) -> None:
    batch = first_batch(splits)
    trainer, plain = (small_trainer(splits, method) for method in (MMPareto(variant=variant, gamma=1.3), Joint()))
    for each in (trainer, plain):
        in_conflict(each, "m1")
    found = gradients(trainer, batch)

    model = plain.model
    each_loss = {output: slow_gradients(model, batch, output) for output in [*model.branches, "fused"]}
    expected = {name: torch.stack([given[name] for given in each_loss.values()]).sum(dim=0) for name in found}
    disagree = set()
    for modality in model.branches:
        names = [name for name in found if name.startswith(f"branches.{modality}.encoder.")]
        fused, own = ([each_loss[output][name] for name in names] for output in ("fused", modality))
        if sum(float((a * b).sum()) for a, b in zip(fused, own, strict=True)) < 0:
            disagree.add(modality)
        expected |= zip(names, slow_combined(fused, own, 1.3, whole=variant == "published"), strict=True)
    assert "m1" in disagree
    assert disagree != set(model.branches), "both cases are met"
    assert_close(found, expected)


def test_published_and_released_differ_where_gradients_disagree(splits: Splits) -> None:
    batch, found = first_batch(splits), []
    for method in (MMPareto(), MMPareto(variant="released")):
        trainer = small_trainer(splits, method)
        in_conflict(trainer, "m1")
        found.append(gradients(trainer, batch))
    assert_close({n: g for n, g in found[0].items() if "m0" in n}, {n: g for n, g in found[1].items() if "m0" in n})
    one, other = (given["branches.m1.encoder.1.weight"] for given in found)
    assert not torch.allclose(one, other, rtol=1e-3)
    cosine = torch.nn.functional.cosine_similarity(one.flatten(), other.flatten(), dim=0)
    assert float(cosine) == pytest.approx(1, abs=1e-5), "a weight's direction is the same, its length is not"


def test_agreeing_gradients_without_scale_are_those_of_joint(splits: Splits) -> None:
    """Up to rounding: the losses are added after their gradients are taken, not before."""
    batch, found = first_batch(splits), []
    for method in (Joint(), MMPareto(gamma=1)):
        trainer = small_trainer(splits, method)
        in_conflict(trainer, "none of them")
        found.append(gradients(trainer, batch))
    assert_close(found[0], found[1], atol=1e-7)
    trainer = small_trainer(splits, MMPareto(gamma=2))
    in_conflict(trainer, "none of them")
    for name, gradient in gradients(trainer, batch).items():
        factor = 2 if ".encoder." in name else 1
        assert torch.allclose(gradient, factor * found[0][name], rtol=1e-4, atol=1e-7), name


def test_a_training_without_conflict_is_that_of_joint_up_to_rounding(splits: Splits) -> None:
    plain = trained_weights(splits, Joint())
    always = trained_weights(splits, AlwaysAgreed(gamma=1))
    assert_close(plain, always, atol=1e-3)
    with pytest.raises(AssertionError):
        assert_close(plain, trained_weights(splits, MMPareto()), atol=1e-3)


class AlwaysAgreed(MMPareto):
    """Sums the gradients, whatever their angle."""

    @property
    def name(self) -> str:
        return "mmpareto"

    def combined(self, fused: list[Tensor], own: list[Tensor]) -> list[Tensor]:
        return [a + b for a, b in zip(fused, own, strict=True)]


@pytest.mark.parametrize(("variant", "expected"), [("published", [3.0, 1.5]), ("released", [1.5, 3.0])])
def test_a_product_of_exactly_zero(variant: Any, expected: list[float]) -> None:
    """The released solver takes (2, 0) and (0, 1) by 0.2 and 0.8; the paper's case is not known."""
    fused, unimodal = torch.tensor([2.0, 0.0]), torch.tensor([0.0, 1.0])
    (found,) = MMPareto(variant=variant).combined([fused], [unimodal])
    assert found.tolist() == pytest.approx(expected)
    (nothing,) = MMPareto(variant=variant).combined([torch.zeros(2)], [torch.zeros(2)])
    assert nothing.tolist() == [0, 0]


def test_gradients_of_nothing_stay_nothing() -> None:
    zero, one = [torch.zeros(3), torch.zeros(2, 2)], [torch.ones(3), torch.full((2, 2), -2.0)]
    variants: tuple[Literal["published", "released"], ...] = ("published", "released")
    for variant in variants:
        method = MMPareto(variant=variant)
        assert all(not values.any() for values in method.combined(zero, zero))
        for given in ((zero, one), (one, zero)):
            assert all(
                torch.allclose(new, 1.5 * values) for new, values in zip(method.combined(*given), one, strict=True)
            )
        for factor in (-1, -3):
            opposite = [factor * values for values in one]
            assert all(not values.any() for values in method.combined(one, opposite)), "no direction is common"
        assert method.combined([], []) == []


def test_heads_follow_the_fused_loss_too_where_it_sums_their_logits(splits: Splits) -> None:
    batch, found = first_batch(splits), []
    for method in (Joint(), MMPareto()):
        trainer = small_trainer(splits, method)
        trainer.model.fusion = None
        found.append({name: values for name, values in gradients(trainer, batch).items() if ".head." in name})
    assert_close(*found)


def test_it_trains_in_bfloat16(splits: Splits) -> None:
    meta = splits[Split.TRAIN].meta
    model = build_model(meta, {name: MLP(width=16) for name in meta.modalities}, 0)
    trainer = Trainer(model, MMPareto(), TRAIN, Runtime.start(SETTINGS.model_copy(update={"precision": "bfloat16"})))
    losses = [trainer.train_epoch([first_batch(splits)], lr=0.01)["fused"] for _ in range(20)]
    assert losses[-1] < 0.5 * losses[0]


def test_gradients_apart_leave_those_that_are_there(splits: Splits) -> None:
    trainer, batch = small_trainer(splits, MMPareto()), first_batch(splits)
    trainer._num_rows = len(batch.labels)
    weights = list(trainer.model.parameters())
    kept = torch.ones_like(weights[0])
    weights[0].grad = kept
    logits = trainer.forward(batch.inputs, apart=True).logits
    loss = torch.nn.functional.cross_entropy(logits["m1"], batch.labels)
    slow = slow_gradients(small_trainer(splits, Joint()).model, batch, "m1")
    for _ in range(2):
        found = trainer.gradients(loss, weights)
        for values, expected in zip(found, slow.values(), strict=True):
            assert torch.equal(values, expected)
    assert weights[0].grad is kept
    assert all(weight.grad is None for weight in weights[1:])


def test_frozen_weights_stay(splits: Splits) -> None:
    trainer, batch = small_trainer(splits, MMPareto(), Gated(width=8)), first_batch(splits)
    for weight in trainer.model.branch("m0").encoder.parameters():
        weight.requires_grad_(False)
    other = small_trainer(splits, MMPareto(), Gated(width=8))
    found, expected = gradients(trainer, batch), gradients(other, batch)
    for name, gradient in found.items():
        if name.startswith("branches.m0.encoder."):
            assert not gradient.any()
        else:
            assert torch.allclose(gradient, expected[name], atol=1e-7)
    assert_same(found, expected, "branches.m1.")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"gamma": 0}, "gamma"), ({"variant": "original"}, "'published' or 'released'"),
        ({"unimodal_weight": 1.0}, "unknown key 'unimodal_weight'"),
    ],
)  # fmt: skip
def test_wrong_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises((ValidationError, ValueError), match=message):
        MMPareto(**settings)
