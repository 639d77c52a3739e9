"""Modality-specific learning rates."""

from functools import partial
from math import exp, log
from typing import Any

import pytest
import torch
from torch import Tensor

from bss.measure.evidence import Evidence
from bss.model import MultimodalModel
from bss.training import weights
from bss.training.methods.joint import Joint
from bss.training.methods.mslr import MSLR, drawn_together, ratios
from bss.training.trainer import Trainer
from bss.types import FUSED, Split
from tests.helpers.steps import Splits, assert_close, assert_same, first_batch, gradients, small_trainer
from tests.helpers.toy import TRAIN


class SumOfHeads(Joint):
    """`joint` with the sum of the logits as its fusion."""

    def prepare(self, model: MultimodalModel) -> None:
        model.fusion = None


def with_accuracy(hits: dict[str, int], number: int = 50) -> Evidence:
    """Each modality has some of `number` samples right."""
    logits = {}
    for name, right in hits.items():
        logits[name] = torch.tensor([[1.0, 0]] * right + [[0.0, 1]] * (number - right))
    logits[FUSED] = next(iter(logits.values()))
    features = {name: torch.ones(number, 2) for name in hits}
    return Evidence(logits, torch.zeros(number, dtype=torch.int64), features)


def test_a_rate_by_hand() -> None:
    before = torch.tensor([[0.50], [0.52], [0.55], [0.56], [0.58]]).double()
    found = float(ratios(torch.tensor([0.60]).double(), before))
    assert found == pytest.approx(1.107011, abs=1e-6)
    assert 0.9 * found == pytest.approx(0.996310, abs=1e-6)


def test_rates_follow_the_accuracies(splits: Splits) -> None:
    """Epoch by epoch, with plain lists beside it."""
    method = MSLR(window=3, rates={"m0": 0.5})
    trainer = small_trainer(splits, method)
    names = list(trainer.model.branches)
    seen: list[list[int]] = []
    for epoch in range(7):
        hits = {name: 10 + (7 * epoch * (place + 1)) % 30 for place, name in enumerate(names)}
        method.begin_epoch(trainer, epoch, pytest.fail, partial(with_accuracy, hits))
        last = seen[-3:]
        for place, name in enumerate(names):
            ratio = 1.0 if len(seen) < 3 else hits[name] / (sum(row[place] for row in last) / 3)
            wanted = (0.5 if name == "m0" else 1.0) * ratio
            assert method._factors(trainer)[name] == pytest.approx(wanted), (epoch, name)
        seen.append([hits[name] for name in names])


def test_without_an_accuracy_a_rate_stays() -> None:
    before = torch.tensor([[0.0, 0.5, float("nan")], [0.0, 0.5, 0.5]]).double()
    assert ratios(torch.tensor([0.5, float("nan"), 0.5]).double(), before).tolist() == [1, 1, 1]


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_published_rates_are_those_of_the_optimizer(splits: Splits, optimizer: str) -> None:
    """Against a group of parameters for each modality, over several steps."""
    settings: Any = TRAIN.model_copy(update={"optimizer": optimizer})
    rates, batch = {"m0": 0.25, "m1": 3.0}, first_batch(splits)
    model = small_trainer(splits, SumOfHeads()).model
    trainer = Trainer(model, MSLR(rates=rates, strategy="keep"), settings, small_trainer(splits, Joint()).runtime)
    slow = small_trainer(splits, SumOfHeads()).model
    groups = [
        {"params": list(slow.branch(name).parameters()), "lr": 0.01 * rates.get(name, 1.0)} for name in slow.branches
    ]
    kind: Any = torch.optim.SGD if optimizer == "sgd" else torch.optim.AdamW
    other = kind(groups, weight_decay=settings.weight_decay, **({"momentum": 0.9} if optimizer == "sgd" else {}))
    for _ in range(3):
        other.zero_grad()
        torch.nn.functional.cross_entropy(slow(batch.inputs).logits[FUSED], batch.labels).backward()
        other.step()
    trainer.train_epoch([batch] * 3, 0.01)
    assert_close(weights.take(model), weights.take(slow), atol=1e-5)


def test_released_scales_gradients_and_published_leaves_them(splits: Splits) -> None:
    batch, rates = first_batch(splits), {"m1": 3.0}
    plain, released, published = (
        gradients(small_trainer(splits, method), batch)
        for method in (SumOfHeads(unimodal_weight=0), MSLR(variant="released", rates=rates), MSLR(rates=rates))
    )
    assert_same(published, plain)
    scaled = {name: values * (3 if name.startswith("branches.m1.") else 1) for name, values in plain.items()}
    assert_same(released, scaled)


def weights_after(splits: Splits, method: Any) -> dict[str, Tensor]:
    trainer, batch = small_trainer(splits, method), first_batch(splits)
    trainer.train_epoch([batch] * 2, 0.01)
    return weights.take(trainer.model)


@pytest.mark.parametrize("variant", ["published", "released"])
def test_at_equal_rates_it_is_the_sum_of_the_heads(splits: Splits, variant: Any) -> None:
    wanted = weights_after(splits, SumOfHeads(unimodal_weight=0))
    assert_same(weights_after(splits, MSLR(variant=variant, strategy="keep")), wanted)
    assert_same(weights_after(splits, MSLR(variant=variant)), wanted)


def slow_drawn_together(rates: dict[str, float], smoothing: float) -> dict[str, float]:
    """By the mean of logarithms."""
    logs = {name: log(rate) for name, rate in rates.items()}
    mean = sum(logs.values()) / len(logs)
    return {name: exp(value + smoothing * (mean - value)) for name, value in logs.items()}


def test_smooth_rates_by_hand() -> None:
    found = drawn_together({"audio": 0.9, "visual": 1.1}, 0.5)
    assert list(found.values()) == pytest.approx([0.946303, 1.046177], abs=1e-6)
    many = {f"m{number}": 0.1 * 2.0**number for number in range(6)}
    assert drawn_together(many, 0.3) == pytest.approx(slow_drawn_together(many, 0.3))
    assert drawn_together(many, 1.0) == pytest.approx(dict.fromkeys(many, 0.1 * 2.0**2.5))


def test_smooth_lies_between_one_rate_and_keep(splits: Splits) -> None:
    rates = {"m0": 0.25, "m1": 4.0}
    trainer = small_trainer(splits, MSLR(strategy="smooth", rates=rates))
    given = {name: rates.get(name, 1.0) for name in trainer.model.branches}
    assert MSLR(strategy="smooth", rates=rates)._factors(trainer) == pytest.approx(slow_drawn_together(given, 0.5))
    kept, ends, default = (
        weights_after(splits, MSLR(rates=rates, **fields))
        for fields in (
            {"strategy": "keep"}, {"strategy": "smooth", "smoothing": 0.0}, {"strategy": "smooth"},
        )
    )  # fmt: skip
    assert_same(ends, kept)
    assert not torch.equal(default["branches.m0.head.weight"], kept["branches.m0.head.weight"])
    assert_same(weights_after(splits, MSLR(strategy="smooth")), weights_after(splits, SumOfHeads(unimodal_weight=0)))


@pytest.mark.parametrize("strategy", ["keep", "smooth"])
def test_rates_that_stay_ask_for_no_validation(splits: Splits, strategy: Any) -> None:
    method = MSLR(strategy=strategy)
    for epoch in range(9):
        method.begin_epoch(small_trainer(splits, method), epoch, pytest.fail, pytest.fail)


def test_a_rate_of_no_modality_is_refused(splits: Splits) -> None:
    shapes = {name: modality.shape for name, modality in splits[Split.TRAIN].meta.modalities.items()}
    MSLR(rates={"m0": 2.0}).check_shapes(shapes)
    with pytest.raises(ValueError, match="rates: 'audio' is none of m0, m1"):
        MSLR(rates={"audio": 2.0}).check_shapes(shapes)
