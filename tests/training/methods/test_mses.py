"""Modality-specific early stopping."""

from functools import partial
from math import log
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
from torch import Tensor

from bss.curriculum.sampler import CurriculumSampler
from bss.curriculum.schedulers.random import Random
from bss.evaluation.artifacts import kept_epoch
from bss.measure.evidence import Evidence
from bss.training import weights
from bss.training.checkpoint import Checkpoints
from bss.training.loop import fit, split_evidence
from bss.training.methods.joint import Joint
from bss.training.methods.mses import MSES, smoothed
from bss.training.selection import loss_and_accuracy
from bss.training.trainer import Trainer
from bss.types import FUSED, Split
from tests.helpers.steps import Splits, assert_same, first_batch, small_trainer, trained_weights
from tests.helpers.toy import TRAIN


def with_losses(losses: dict[str, float]) -> Evidence:
    """One sample, of which each modality has that loss: p = exp(-loss)."""
    logits = {}
    for name, loss in losses.items():
        p = torch.tensor(-loss).double().exp()
        logits[name] = torch.stack([p.log(), (1 - p).log()])[None]
    logits[FUSED] = torch.zeros(1, 2).double()
    return Evidence(logits, torch.tensor([0]), {name: torch.ones(1, 2) for name in losses})


def test_levels_by_hand() -> None:
    raw = torch.tensor([[1.0], [0.9], [0.95], [0.97]]).double()
    assert smoothed(raw, 0.6).flatten().tolist() == pytest.approx([1, 0.96, 0.92, 0.958])


def slow_stops(raw: list[float], patience: int, smoothing: float) -> tuple[int, int] | None:
    """The place of the loss after which the modality stops, and that of its best epoch."""
    levels: list[float] = []
    for t, loss in enumerate(raw):
        levels.append(loss if t == 0 else smoothing * raw[t - 1] + (1 - smoothing) * loss)
        best = levels.index(min(levels))
        if t - best > patience:
            return t, best
    return None


def disturb(trainer: Trainer, seed: int) -> dict[str, Tensor]:
    """New weights; what they are."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for weight in trainer.model.parameters():
            weight.add_(0.1 * torch.randn(weight.shape))
    return weights.take(trainer.model)


@pytest.mark.parametrize("patience", [0, 1, 3])
def test_what_gets_worse_goes_back_to_its_best_and_rests(splits: Splits, patience: int) -> None:
    method = MSES(patience=patience)
    trainer = small_trainer(splits, method)
    names = list(trainer.model.branches)
    raw = {name: [0.5] * 9 for name in names}
    raw["m0"] = [0.9, 0.5, 0.6, 0.7, 0.8, 0.7, 0.6, 0.7, 0.8]
    raw["m1"] = [0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1]
    wanted = {name: slow_stops(raw[name], patience, method.smoothing) for name in names}
    assert wanted["m0"] is not None
    assert wanted["m1"] is None
    was: list[dict[str, Tensor]] = []
    method.begin_epoch(trainer, 0, pytest.fail, pytest.fail)
    for t in range(9):
        was.append(disturb(trainer, t))
        losses = {name: raw[name][t] for name in names}
        method.begin_epoch(trainer, t + 1, pytest.fail, partial(with_losses, losses))
        now = weights.take(trainer.model)
        for key, values in now.items():
            stop = wanted.get(key.split(".")[1]) if key.startswith("branches") else None
            back = stop is not None and t == stop[0]
            assert torch.equal(values, was[stop[1]][key] if back and stop else was[t][key]), (t, key)
        rest = [name for name in names if (stop := wanted[name]) is not None and t >= stop[0]]
        assert method._resting(trainer) == rest
        for name in rest:
            assert not any(key.startswith(f"best of {name}") for key in trainer.memory)


def test_what_rests_moves_by_no_gradient_momentum_decay_or_statistic(splits: Splits) -> None:
    method, batch = MSES(), first_batch(splits)
    trainer = small_trainer(splits, method, encoders={})
    trainer.train_epoch([batch] * 2, 0.01)
    trainer.memory["stopped"] = torch.tensor([name == "m0" for name in trainer.model.branches])
    before = weights.take(trainer.model)
    trainer.train_epoch([batch] * 2, 0.01)
    after = weights.take(trainer.model)
    rested = {name: values for name, values in after.items() if name.startswith("branches.m0.")}
    assert any("running" in name for name in rested)
    assert_same(rested, {name: before[name] for name in rested})
    for part in ("branches.m1.encoder", "branches.m1.head", "fusion"):
        assert any(not torch.equal(after[name], before[name]) for name in after if name.startswith(part)), part


def test_released_takes_the_whole_model_and_the_optimizer_back(splits: Splits) -> None:
    method, batch = MSES(variant="released", patience=0), first_batch(splits)
    trainer = small_trainer(splits, method)
    names = list(trainer.model.branches)
    trainer.train_epoch([batch] * 2, 0.01)
    was = weights.take(trainer.model)
    learned = [{k: v.clone() for k, v in of_one.items()} for of_one in trainer.optimizer.state.values()]
    method.begin_epoch(trainer, 1, pytest.fail, lambda: with_losses(dict.fromkeys(names, 0.5)))
    trainer.train_epoch([batch] * 2, 0.01)
    worse = {name: 0.6 if name == "m1" else 0.4 for name in names}
    method.begin_epoch(trainer, 2, pytest.fail, lambda: with_losses(worse))
    assert method._resting(trainer) == ["m1"]
    assert_same(weights.take(trainer.model), was)
    for now, before in zip(trainer.optimizer.state.values(), learned, strict=True):
        assert_same(now, before)


@pytest.mark.parametrize("worse", [0, -1])
def test_released_keeps_what_is_best_before_it_takes_another_back(splits: Splits, worse: int) -> None:
    method = MSES(variant="released", patience=0)
    trainer = small_trainer(splits, method)
    names = list(trainer.model.branches)
    method.begin_epoch(trainer, 1, pytest.fail, lambda: with_losses(dict.fromkeys(names, 0.5)))
    measured = disturb(trainer, 1)
    losses = {name: 0.6 if name == names[worse] else 0.4 for name in names}
    method.begin_epoch(trainer, 2, pytest.fail, lambda: with_losses(losses))
    for name in set(names) - {names[worse]}:
        assert_same({key: trainer.memory[f"best of {name}: {key}"] for key in measured}, measured)


class Scripted(MSES):
    """The losses of the first modality rise from epoch 3 on, those of the others from the epoch before."""

    def begin_epoch(self, trainer: Trainer, epoch: int, evidence: Any, validation: Any) -> None:
        names = list(trainer.model.branches)
        losses = {name: 0.5 + 0.1 * abs(epoch - (3 if name == "m0" else 2)) for name in names}
        super().begin_epoch(trainer, epoch, evidence, partial(with_losses, losses))


def scripted(
    splits: Splits, keep: str, checkpoints: Any = None, sampler: CurriculumSampler | None = None
) -> tuple[Trainer, pl.DataFrame]:
    trainer, train = small_trainer(splits, Scripted(patience=1, smoothing=0)), splits[Split.TRAIN]
    settings: Any = TRAIN.model_copy(update={"keep": keep})
    sampler = sampler or CurriculumSampler(len(train), Random())
    return trainer, fit(trainer, sampler, train, splits[Split.VALIDATION], settings, 9, checkpoints=checkpoints)


@pytest.mark.parametrize("keep", ["best", "last"])
def test_the_training_ends_when_all_rest(splits: Splits, keep: str) -> None:
    """The others stop before epoch 4, the first before epoch 5, which has no step: what went back is judged."""
    trainer, history = scripted(splits, keep)
    fused = history.filter(pl.col("output") == FUSED)
    per_epoch = -(-len(splits[Split.TRAIN]) // TRAIN.batch_size)
    assert fused["num_steps"].to_list() == [per_epoch * number for number in (1, 2, 3, 4, 5, 5)]
    assert fused["train_loss"].is_nan().to_list() == [False] * 5 + [True]
    validation = split_evidence(trainer.model, splits[Split.VALIDATION], TRAIN.batch_size, trainer.runtime)
    kept = kept_epoch(fused, keep)
    assert kept["epoch"] == 5 or keep == "best"
    assert loss_and_accuracy(validation, FUSED) == (kept["validation_loss"], kept["validation_accuracy"])


def test_the_epoch_without_a_step_draws_no_sample(splits: Splits, tmp_path: Path) -> None:
    for checkpoints in (Checkpoints(tmp_path, 60), Checkpoints(tmp_path, 60)):  # once more, after its end
        sampler = CurriculumSampler(len(splits[Split.TRAIN]), Random())
        scripted(splits, "best", checkpoints, sampler)
        assert (sampler.num_draws == 5).all()


def test_a_training_that_is_over_stays_so_after_a_kill(splits: Splits, tmp_path: Path) -> None:
    whole, history = scripted(splits, "best", Checkpoints(tmp_path, 60))
    again, resumed = scripted(splits, "best", Checkpoints(tmp_path, 60))
    assert resumed.equals(history, null_equal=True)
    assert_same(weights.take(again.model), weights.take(whole.model))


def test_a_modality_that_no_sample_has_never_stops(splits: Splits) -> None:
    method = MSES(patience=0)
    trainer = small_trainer(splits, method)
    names = list(trainer.model.branches)
    seen = with_losses(dict.fromkeys(names, log(2)))
    absent = Evidence(seen.logits, seen.labels, {name: torch.zeros(1, 2) for name in names})
    for epoch in range(4):
        method.begin_epoch(trainer, epoch, pytest.fail, lambda: absent)
    assert method._resting(trainer) == []


def test_with_patience_it_is_joint(splits: Splits) -> None:
    fields: Any = {"fused_weight": 0.7, "unimodal_weight": 0.3}
    assert_same(trained_weights(splits, MSES(patience=99, **fields)), trained_weights(splits, Joint(**fields)))
