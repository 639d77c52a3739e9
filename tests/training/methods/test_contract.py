"""The contract of a training method, over the whole registry and all variants of what has some.

By day each method proves what is its own alone; what is the same code for all, a few prove for them.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Literal, get_args

import numpy as np
import polars as pl
import pytest
import torch
from torch import Tensor

from bss.curriculum.sampler import CurriculumSampler
from bss.curriculum.schedulers.learned import Learned
from bss.curriculum.schedulers.random import Random
from bss.curriculum.schedulers.scheduler import Scheduler
from bss.encoders.fusions.fusion import FUSIONS
from bss.encoders.mlp import MLP
from bss.evaluation.judging.judgement import decided, judge
from bss.model import MultimodalModel, build_model
from bss.training.loader import batches
from bss.training.loop import fit, split_evidence
from bss.training.methods.method import METHODS, Method
from bss.training.runtime import Runtime
from bss.training.trainer import Trainer
from bss.types import FUSED, Split
from tests.helpers import ROOT
from tests.helpers.methods import every, telling
from tests.helpers.steps import Splits, assert_same
from tests.helpers.toy import SETTINGS, TRAIN, packed_toy

BFLOAT16 = SETTINGS.model_copy(update={"precision": "bfloat16"})
LAST = TRAIN.model_copy(update={"keep": "last"})


def spec(name: str, variant: str | None = None) -> Any:
    """Everything that a method does, from the first epoch on."""
    fields = {"starts": 0} if "starts" in METHODS[name].model_fields else {}
    return {"name": name, **METHODS[name].example, **fields, **({"variant": variant} if variant else {})}


def variants(name: str) -> tuple[str | None, ...]:
    field = METHODS[name].model_fields.get("variant")
    return get_args(field.annotation) if field else (None,)


APART: list[Any] = [
    {"name": "tcmax", "combinations": 64},
    {"name": "mmcosine", "contrast_weight": 1.0},
    {"name": "cml", "confidence": "similarities"},
    {"name": "cml", "confidence": "similarities", "variant": "released"},
    {"name": "g2d", "teacher_epochs": 0, "prioritised_epochs": 1, "ranks": "warmup"},
]
"""Settings that are off by default, and take another way through a step."""
SPECS = [*(spec(name, variant) for name in METHODS for variant in variants(name)), *APART]
some_methods = pytest.mark.parametrize("given", telling(SPECS))
methods = pytest.mark.parametrize("given", every(SPECS))


def has_fusion(given: Any, splits: Splits) -> bool:
    model = new_model(splits)
    METHODS.build(given).prepare(model)
    return model.fusion is not None


def new_model(splits: Splits, fusion: str = "concat", widths: tuple[int, ...] = (8, 12), seed: int = 0) -> Any:
    meta = splits[Split.TRAIN].meta
    encoders = {name: MLP(width=widths[number % len(widths)]) for number, name in enumerate(meta.modalities)}
    return build_model(meta, encoders, seed, FUSIONS.example(fusion))


class Noting(CurriculumSampler):
    """Keeps the scores of each epoch."""

    def end_epoch(self) -> None:
        super().end_epoch()
        self.noted = [*getattr(self, "noted", []), self.scores.copy()]


def trained(
    model: MultimodalModel,
    splits: Splits,
    method: Method,
    num_epochs: int = 1,
    runtime: Any = SETTINGS,
    scheduler: Scheduler | None = None,
    class_weights: Tensor | None = None,
) -> tuple[dict[str, Tensor], pl.DataFrame, Noting]:
    """The weights, all finite, the history and the sampler."""
    trainer = Trainer(model, method, LAST, Runtime.start(runtime), class_weights=class_weights)
    train, validation = splits[Split.TRAIN], splits[Split.VALIDATION]
    sampler = Noting(len(train), scheduler or Random())
    history = fit(trainer, sampler, train, validation, LAST, num_epochs)
    weights = {name: values.detach().clone() for name, values in model.state_dict().items()}
    for name, values in weights.items():
        assert values.isfinite().all(), name
    return weights, history, sampler


def moved(model: MultimodalModel, before: Mapping[str, Tensor]) -> set[str]:
    """Names of the weights that are not as they were; those that a method has added count as well."""
    return {
        name
        for name, values in model.named_parameters()
        if name not in before or values.shape != before[name].shape or not torch.equal(values, before[name])
    }


def copied(model: MultimodalModel) -> dict[str, Tensor]:
    return {name: values.detach().clone() for name, values in model.named_parameters()}


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Splits:
    return packed_toy(tmp_path_factory.mktemp("pair"))


@pytest.fixture(scope="module")
def six(tmp_path_factory: pytest.TempPathFactory) -> Splits:
    return packed_toy(tmp_path_factory.mktemp("six"), 6)


def trains_what_it_should(given: Any, splits: Splits, fusion: str) -> None:
    method, model = METHODS.build(given), new_model(splits, fusion)
    before = copied(model)
    trained(model, splits, method, method.least_epochs)
    found = moved(model, before)
    for part in ("branches.m0.encoder", "branches.m1.encoder"):
        trains = part.split(".")[1] in method.trains(["m0", "m1"], 0)
        assert any(name.startswith(part) for name in found) == trains, part
    if model.fusion is not None:
        trains_fusion = FUSED in method.judged(["m0", "m1", FUSED])
        changed = {name for name in found if name.startswith("fusion")}
        of_fusion = {f"fusion.{name}" for name, _ in model.fusion.named_parameters()}
        assert changed == (of_fusion if trains_fusion else set())


@methods
def test_it_trains_what_it_should(given: Any, pair: Splits) -> None:
    trains_what_it_should(given, pair, "concat")


@some_methods
@pytest.mark.parametrize("fusion", [name for name in FUSIONS if name != "concat"])
def test_it_trains_with_every_fusion(given: Any, fusion: str, pair: Splits) -> None:
    if has_fusion(given, pair):  # a method that takes the fusion away meets none, whichever it was
        trains_what_it_should(given, pair, fusion)


@some_methods
def test_it_learns_in_bfloat16(given: Any, pair: Splits) -> None:
    method = METHODS.build(given)
    _, history, _ = trained(new_model(pair), pair, method, 8, BFLOAT16)
    for output in method.judged(history["output"].unique()):
        losses = history.filter(pl.col("output") == output).sort("epoch")["train_loss"].drop_nans()
        assert losses.is_finite().all()
        assert losses[-1] < (0.8 if method.trains(["m0", "m1"], 0) else 0.95) * losses[0], output


@some_methods
@pytest.mark.parametrize("widths", [(3, 24), pytest.param((24, 3), marks=pytest.mark.nightly)])
def test_encoders_may_differ_in_width(given: Any, widths: tuple[int, int], pair: Splits) -> None:
    model = new_model(pair, widths=widths)
    before = copied(model)
    _, history, _ = trained(model, pair, METHODS.build(given), 3)
    found = moved(model, before)
    trained_ones = {part for epoch in range(3) for part in METHODS.build(given).trains(["m0", "m1"], epoch)}
    assert {name.split(".")[1] for name in found if ".encoder." in name} == trained_ones
    assert history["train_loss"].drop_nans().is_finite().all()


@methods
def test_six_modalities_train(given: Any, six: Splits) -> None:
    method = METHODS.build(given)
    model = new_model(six, widths=(4, 6, 8))
    _, history, _ = trained(model, six, method)
    assert set(history["output"]) == set(method.judged([*six[Split.TRAIN].meta.modalities, FUSED]))
    assert history["validation_loss"].is_finite().all()


@some_methods
@pytest.mark.parametrize("update", [pytest.param("online", marks=pytest.mark.nightly), "mixed"])
def test_every_epoch_makes_fresh_scores(given: Any, update: Literal["online", "mixed"], pair: Splits) -> None:
    scheduler = Learned(score_update=update, refresh_every=2)
    *_, sampler = trained(new_model(pair), pair, METHODS.build(given), 5, scheduler=scheduler)
    scores = [np.zeros(sampler.num_samples), *sampler.noted]
    assert len(scores) == 5
    ends = [epoch for epoch in range(1, 5) if update == "mixed" or epoch % 2 == 0]
    assert [epoch for epoch in range(1, 5) if not np.array_equal(scores[epoch], scores[epoch - 1])] == ends
    assert all(np.isfinite(each).all() for each in scores)


@some_methods
def test_what_was_trained_is_what_is_judged(given: Any, pair: Splits) -> None:
    method = METHODS.build(given)
    model, again = new_model(pair), new_model(pair, seed=1)
    weights, *_ = trained(model, pair, method, method.least_epochs)
    other = METHODS.build(given)
    other.prepare(again)
    again.load_state_dict(weights)
    test, runtime = pair[Split.TEST], Runtime.start(SETTINGS)
    assert_same(split_evidence(again, test, 16, runtime).logits, split_evidence(model, test, 16, runtime).logits)
    one, two = (judge(each, test, by, 16, runtime) for each, by in ((model, method), (again, other)))
    assert one.predictions.equals(two.predictions)
    assert one.metrics == two.metrics


@some_methods
def test_a_method_keeps_nothing_of_a_training(given: Any, pair: Splits, six: Splits) -> None:
    used, fresh = METHODS.build(given), METHODS.build(given)
    trained(new_model(six), six, used, 2)
    assert vars(used) == vars(fresh)
    assert used.model_dump() == fresh.model_dump()
    one, two = (trained(new_model(pair), pair, method, 3)[0] for method in (used, fresh))
    assert_same(one, two)


@methods
@pytest.mark.parametrize("scale", [0.0, 1e4])
def test_extreme_logits_leave_every_weight_finite(given: Any, scale: float, pair: Splits) -> None:
    """All logits equal, or hundreds apart; batches of two, a whole epoch of one class, then of all."""
    method, runtime, train = METHODS.build(given), Runtime.start(SETTINGS), pair[Split.TRAIN]
    trainer = Trainer(new_model(pair), method, LAST, runtime)
    with torch.no_grad():
        for name, weight in trainer.model.named_parameters():
            if ".encoder." not in name:
                weight.mul_(scale)
    evidence, validation = (
        partial(split_evidence, trainer.module, split, 16, runtime) for split in (train, pair[Split.VALIDATION])
    )
    of_one, mixed = np.flatnonzero(train.labels == 0)[:8], np.arange(8)
    for epoch, rows in enumerate((of_one, mixed, of_one)):
        method.begin_epoch(trainer, epoch, evidence, validation)
        order = method.order(rows, trainer.memory)
        todo = batches(train, order.indices, 2, runtime, hidden=order.hidden, cuts=order.cuts)
        trainer.train_epoch(todo, LAST.lr)
        for name, values in trainer.model.state_dict().items():
            assert values.isfinite().all(), (epoch, name)
    own = decided(evidence(), method, "fused")
    assert all(np.isfinite(values).all() for values in own.values())


@methods
def test_what_it_looks_at_is_what_it_says(given: Any, pair: Splits) -> None:
    method = METHODS.build(given)
    asked: list[int] = []
    trainer = Trainer(new_model(pair), method, LAST, Runtime.start(SETTINGS))
    evidence = {split: split_evidence(trainer.module, pair[split], 16, trainer.runtime) for split in Split}
    todo = partial(batches, pair[Split.TRAIN], np.arange(32), 16, trainer.runtime)
    for epoch in range(4):

        def look(epoch: int = epoch) -> Any:
            asked.append(epoch)
            return evidence[Split.VALIDATION]

        method.begin_epoch(trainer, epoch, lambda: evidence[Split.TRAIN], look)
        trainer.train_epoch(todo(), LAST.lr)
    assert bool(asked) == method.looks_at_validation


@methods
def test_its_losses_are_weighted_by_class(given: Any, pair: Splits) -> None:
    num_epochs = METHODS.build(given).least_epochs
    plain, ones, other = (
        trained(new_model(pair), pair, METHODS.build(given), num_epochs, class_weights=weights)[0]
        for weights in (None, torch.ones(3), torch.tensor([0.1, 1.0, 1.9]))
    )
    assert_same(plain, ones)
    assert not all(torch.equal(plain[name], values) for name, values in other.items() if name.startswith("branches"))


@methods
@pytest.mark.parametrize("number", [2, 6])
def test_its_own_prediction_is_a_distribution(given: Any, number: int) -> None:
    sharpness = np.array([0.1, 1, 10, 1e4])[:, None, None, None]
    logits = sharpness * np.random.default_rng(0).normal(size=(4, number, 20, 3))
    powers = np.exp(logits - logits.max(axis=3, keepdims=True))
    for each, given_logits in zip(powers / powers.sum(axis=3, keepdims=True), logits, strict=True):
        named = ({f"m{place}": values for place, values in enumerate(group)} for group in (each, given_logits))
        own = METHODS.build(given).decide(*named)
        if own is not None:
            assert own.shape == (20, 3)
            assert (own >= 0).all()
            assert np.allclose(own.sum(axis=1), 1, atol=1e-9, rtol=0)


def test_the_registry_is_whole() -> None:
    folder = ROOT / "src/bss/training/methods"
    files = {file.stem for file in folder.glob("[!_]*.py")} - {"method"}
    assert set(METHODS) == files


@methods
def test_samples_that_lack_a_modality_train_too(given: Any, pair: Splits) -> None:
    """In one batch half of them lack the first modality, in the next one all."""
    method, runtime, train = METHODS.build(given), Runtime.start(SETTINGS), pair[Split.TRAIN]
    trainer = Trainer(new_model(pair), method, LAST, runtime)
    present = np.arange(len(train)) % 2 == 1
    present[16:32] = False
    gaps = replace(train, present={"m0": present})
    validation = partial(split_evidence, trainer.module, pair[Split.VALIDATION], 16, runtime)
    for epoch in range(method.least_epochs + 1):
        method.begin_epoch(trainer, epoch, partial(split_evidence, trainer.module, gaps, 16, runtime), validation)
        order = method.order(np.arange(48), trainer.memory)
        trainer.train_epoch(batches(gaps, order.indices, 16, runtime, hidden=order.hidden, cuts=order.cuts), LAST.lr)
    for name, values in trainer.model.state_dict().items():
        assert values.isfinite().all(), name
