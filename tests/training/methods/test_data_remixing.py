"""Data remixing: batches of one modality, of the samples that it is least sure of."""

from dataclasses import replace
from itertools import pairwise
from math import exp, log
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch.nn.functional import cross_entropy

from bss.curriculum.sampler import CurriculumSampler
from bss.curriculum.schedulers.learned import Learned
from bss.curriculum.schedulers.random import Random
from bss.curriculum.schedulers.scheduler import Scheduler
from bss.encoders.mlp import MLP
from bss.model import MultimodalModel, build_model
from bss.training import loop, weights
from bss.training.loader import batches
from bss.training.loop import fit, split_evidence
from bss.training.methods.data_remixing import DataRemixing
from bss.training.methods.joint import Joint
from bss.training.optimizer import build_optimizer
from bss.training.runtime import Runtime
from bss.training.trainer import Trainer
from bss.types import Split
from tests.helpers.toy import SETTINGS, TRAIN, packed_toy

ONCE = TRAIN.model_copy(update={"keep": "last"})


@pytest.fixture(scope="module", params=[2, 3], ids=lambda number: f"{number} modalities")
def splits(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[Split, Any]:
    return packed_toy(tmp_path_factory.mktemp("toy"), request.param)


def untrained(splits: dict[Split, Any]) -> MultimodalModel:
    meta = splits[Split.TRAIN].meta
    return build_model(meta, {name: MLP(width=8 + 4 * place) for place, name in enumerate(meta.modalities)}, 0)


def trained(
    splits: dict[Split, Any],
    method: Any,
    model: MultimodalModel,
    epochs: int = 1,
    scheduler: Scheduler | None = None,
) -> tuple[Trainer, CurriculumSampler, list[Any]]:
    settings = ONCE.model_copy(update={"epochs": epochs})
    trainer = Trainer(model, method, settings, Runtime.start(SETTINGS))
    sampler = CurriculumSampler(96, scheduler or Random(), scores=np.zeros(96))
    steps: list[Any] = []
    step = trainer._step
    trainer._step = lambda batch: steps.append(batch) or step(batch)  # type: ignore[method-assign, func-returns-value]
    fit(trainer, sampler, splits[Split.TRAIN], splits[Split.VALIDATION], settings, epochs)
    return trainer, sampler, steps


def slow_owner(logits: dict[str, list[float]]) -> str:
    """The modality with the smallest KL divergence from the uniform distribution; the last of equals."""
    found = {}
    for name, row in logits.items():
        total = sum(exp(value) for value in row)
        found[name] = sum(exp(value) / total * log(exp(value) / total * len(row)) for value in row)
    return min(reversed(list(found)), key=lambda name: found[name])


@pytest.mark.parametrize("own_weight", [1.0, 0.3])
def test_an_epoch_equals_its_slow_reference(own_weight: float, splits: dict[Split, Any]) -> None:
    train, model, slow = splits[Split.TRAIN], untrained(splits), untrained(splits)
    names = list(train.meta.modalities)
    assert slow.fusion is not None
    values = {name: torch.from_numpy(found) for name, found in train.read(np.arange(96)).items()}
    with torch.no_grad():
        logits = {name: found.tolist() for name, found in slow(values).logits.items() if name != "fused"}
    owners = [slow_owner({name: logits[name][row] for name in names}) for row in range(96)]
    sequence = CurriculumSampler(96, Random(), scores=np.zeros(96)).sequence().tolist()
    optimizer = build_optimizer(slow.parameters(), ONCE)
    for group in optimizer.param_groups:
        group["lr"] = ONCE.lr
    num_steps = 0
    for own in reversed(names):
        drawn = [index for index in sequence if owners[index] == own]
        assert len(drawn) != 1
        for first in range(0, len(drawn), 16):
            rows = drawn[first:] if len(drawn) - first == 17 else drawn[first : first + 16]
            if len(rows) == 1:
                break
            labels = torch.from_numpy(train.labels[rows])
            outputs = slow({name: found[rows] for name, found in values.items()})
            alone = {name: found if name == own else 0 * found for name, found in outputs.features.items()}
            loss = 0.7 * cross_entropy(slow.fusion(alone), labels)
            loss = loss + own_weight * cross_entropy(outputs.logits[own], labels)
            # Gradients of zero, with which the momentum of the heads of the others goes on.
            loss = loss + sum(0 * outputs.logits[name].sum() for name in names)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            num_steps += 1
    method = DataRemixing(starts=0, fused_weight=0.7, own_weight=own_weight)
    trainer, _, steps = trained(splits, method, model)
    for name, own in trainer.memory.items():
        assert own.tolist() == [owner == name for owner in owners]
    assert len(steps) == num_steps
    for name, found in weights.take(trainer.model).items():
        assert torch.allclose(found, slow.state_dict()[name], atol=1e-5), name


def test_before_it_starts_it_is_joint(splits: dict[Split, Any]) -> None:
    one, _, _ = trained(splits, DataRemixing(starts=3), untrained(splits), 3)
    other, _, _ = trained(splits, Joint(unimodal_weight=0.5), untrained(splits), 3)
    expected = weights.take(other.model)
    assert all(torch.equal(values, expected[name]) for name, values in weights.take(one.model).items())
    assert not one.memory
    later, _, _ = trained(splits, DataRemixing(starts=2), untrained(splits), 3)
    assert any(not torch.equal(values, expected[name]) for name, values in weights.take(later.model).items())


def test_a_batch_shows_one_modality_and_an_epoch_every_draw_once(splits: dict[Split, Any]) -> None:
    trainer, _, steps = trained(splits, DataRemixing(starts=1), untrained(splits), 2)
    assert all(batch.hidden is None for batch in steps[:6])
    shown = []
    for batch in steps[6:]:
        there = [name for name, away in batch.hidden.items() if not away.any()]
        assert len(there) == 1
        assert all(away.all() for name, away in batch.hidden.items() if name != there[0])
        shown += there
    names = list(splits[Split.TRAIN].meta.modalities)
    order = [names.index(name) for name in shown]
    assert order == sorted(order, reverse=True), "the last modality first"
    assert torch.cat([batch.indices for batch in steps[6:]]).sort().values.tolist() == list(range(96))
    assert trainer.num_samples == 2 * 96


def test_a_group_keeps_the_schedulers_order() -> None:
    memory = {"v": torch.tensor([True, False, True, False]), "a": torch.tensor([False, True, False, True])}
    order = DataRemixing().order(np.array([3, 2, 1, 0, 2, 3]), memory)
    assert order.indices.tolist() == [2, 0, 2, 3, 1, 3]
    assert order.hidden["v"].tolist() == [False] * 3 + [True] * 3
    assert order.hidden["a"].tolist() == [True] * 3 + [False] * 3
    assert list(order.cuts) == [3]
    alone = DataRemixing().order(np.array([1, 3]), memory)
    assert alone.indices.tolist() == [1, 3]
    assert list(alone.cuts) == [0], "no sample of the first group"
    assert not DataRemixing().order(np.array([1]), {}).hidden


def given(splits: dict[Split, Any]) -> tuple[Trainer, Any]:
    trainer = Trainer(untrained(splits), DataRemixing(starts=0), ONCE, Runtime.start(SETTINGS))
    return trainer, split_evidence(trainer.module, splits[Split.TRAIN], 16, Runtime.start(SETTINGS))


def test_what_a_sample_lacks_is_not_what_it_shows(splits: dict[Split, Any]) -> None:
    """Logits of zero are of all the least certain, and would teach nothing."""
    trainer, evidence = given(splits)
    last = evidence.modalities[-1]
    features, logits = dict(evidence.features), dict(evidence.logits)
    for group in (features, logits):
        group[last] = group[last].clone()
        group[last][::2] = 0
    trainer.method.begin_epoch(trainer, 0, lambda: replace(evidence, features=features, logits=logits), pytest.fail)
    assert not trainer.memory[last][::2].any()
    assert (torch.stack(list(trainer.memory.values())).sum(dim=0) == 1).all()


def test_the_last_of_equals_shows(splits: dict[Split, Any]) -> None:
    trainer, evidence = given(splits)
    logits = dict.fromkeys(evidence.logits, evidence.logits["m0"])
    trainer.method.begin_epoch(trainer, 0, lambda: replace(evidence, logits=logits), pytest.fail)
    assert trainer.memory[evidence.modalities[-1]].all()


def test_a_sample_that_is_alone_in_its_group_joins_the_next(splits: dict[Split, Any]) -> None:
    """Its loss is its own modality's, as it is in a batch of its own."""
    trainer, _ = given(splits)
    names = list(trainer.model.branches)
    one = torch.arange(96) == 5
    trainer.memory = {names[-1]: one, **{name: ~one & (name == names[0]) for name in names[-2::-1]}}
    order = trainer.method.order(np.arange(96), trainer.memory)
    runtime = Runtime.start(SETTINGS)
    todo = batches(splits[Split.TRAIN], order.indices, 16, runtime, hidden=order.hidden, cuts=order.cuts)
    batch = next(todo)
    assert len(batch.labels) == 17
    with torch.no_grad():
        logits = trainer.model(batch.inputs).logits
    own = torch.cat([logits[names[-1]][:1], logits[names[0]][1:]])
    expected = cross_entropy(logits["fused"], batch.labels) + cross_entropy(own, batch.labels)
    _, loss = trainer.method.step(trainer, batch)
    assert float(loss.detach()) == pytest.approx(float(expected), rel=1e-5)


def test_online_scores_come_from_the_clean_pass(splits: dict[Split, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """One pass an epoch does for both the method and the scores."""
    passes: list[Any] = []
    clean = loop.split_evidence

    def counted(model: Any, split: Any, *rest: Any) -> Any:
        found = clean(model, split, *rest)
        passes.append((len(split), found))
        return found

    observed: list[Any] = []
    take = CurriculumSampler.observe

    def noted(sampler: CurriculumSampler, indices: Any, logits: Any, *rest: Any) -> None:
        observed.append((np.asarray(indices).tolist(), logits))
        take(sampler, indices, logits, *rest)

    monkeypatch.setattr(loop, "split_evidence", counted)
    monkeypatch.setattr(CurriculumSampler, "observe", noted)
    scheduler = Learned(score_update="online", refresh_every=1, beta=1.0)
    _, sampler, _ = trained(splits, DataRemixing(starts=1), untrained(splits), 4, scheduler)
    clean_passes = [found for length, found in passes if length == 96]
    assert len(clean_passes) == 3, "before epochs 1, 2 and 3"
    taken = [logits for rows, logits in observed if rows == list(range(96))]
    assert len(taken) == 3
    assert all(one is other.logits for one, other in zip(taken, clean_passes, strict=True))
    assert len(set(sampler.scores.tolist())) > 1
    assert all(not torch.equal(a["fused"], b["fused"]) for a, b in pairwise(taken))


def test_wrong_settings_are_refused() -> None:
    for wrong in ({"starts": -1}, {"own_weight": -0.1}, {"gamma": 1.0}):
        with pytest.raises(ValidationError):
            DataRemixing(**wrong)
    with pytest.raises(ValidationError, match="nothing would be trained"):
        DataRemixing(fused_weight=0.0, unimodal_weight=0.0)
