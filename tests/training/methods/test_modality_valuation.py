"""Modality valuation: copies of the samples to which a modality adds little."""

from dataclasses import replace
from itertools import combinations, permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from bss.curriculum.sampler import CurriculumSampler
from bss.curriculum.schedulers.random import Random
from bss.encoders.fusions.fusion import FUSIONS
from bss.encoders.mlp import MLP
from bss.model import MultimodalModel, build_model
from bss.training import weights
from bss.training.loop import fit, split_evidence
from bss.training.methods.joint import Joint
from bss.training.methods.modality_valuation import ModalityValuation
from bss.training.optimizer import build_optimizer
from bss.training.runtime import Runtime
from bss.training.trainer import Trainer
from bss.types import Split
from tests.helpers.toy import SETTINGS, TRAIN, packed_toy

ONCE = TRAIN.model_copy(update={"epochs": 1, "keep": "last"})


@pytest.fixture(scope="module", params=[2, 3], ids=lambda number: f"{number} modalities")
def splits(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[Split, Any]:
    return packed_toy(tmp_path_factory.mktemp("toy"), request.param)


def model_of(splits: dict[Split, Any], fusion: str = "concat") -> MultimodalModel:
    """Trained a little, so that the fusion is right with some sets of modalities and wrong with others."""
    meta = splits[Split.TRAIN].meta
    encoders = {name: MLP(width=8 + 4 * place) for place, name in enumerate(meta.modalities)}
    model = build_model(meta, encoders, 0, FUSIONS.example(fusion))
    trained(splits, Joint(fused_weight=1, unimodal_weight=0.2), model, lr=0.003)
    return model


def trained(
    splits: dict[Split, Any], method: Any, model: MultimodalModel, epochs: int = 1, lr: float = 0.01
) -> tuple[Trainer, Any]:
    settings = ONCE.model_copy(update={"epochs": epochs, "lr": lr})
    trainer = Trainer(model, method, settings, Runtime.start(SETTINGS))
    sampler = CurriculumSampler(96, Random(), scores=np.zeros(96))
    return trainer, fit(trainer, sampler, splits[Split.TRAIN], splits[Split.VALIDATION], settings, epochs)


def slow_copies(model: MultimodalModel, inputs: dict[str, Tensor], label: int) -> dict[str, int]:
    """Of one sample, by the definition: the mean gain of a modality over all orders in which they join."""
    names, fusion = list(model.branches), model.fusion
    assert fusion is not None
    features = model(inputs).features

    def value(some: tuple[str, ...]) -> int:
        logits = fusion({name: features[name] if name in some else 0 * features[name] for name in names})
        return len(some) if some and int(logits[0].argmax()) == label else 0

    found = {}
    for name in names:
        orders = list(permutations(names))
        gains = [value(order[: order.index(name) + 1]) - value(order[: order.index(name)]) for order in orders]
        phi = round(sum(gains) / len(gains), 9)
        found[name] = 3 if phi < -0.1 else 2 if phi < 0.4 else 1 if phi < 1 else 0
    return found


def slow_order(sequence: list[int], copies: list[dict[str, int]], spacing: int) -> list[tuple[int, str | None]]:
    """(sample, the modality that is shown alone) of the whole epoch."""
    queue: dict[int, list[tuple[int, str | None]]] = {}
    for place, index in enumerate(sequence):
        queue.setdefault(place, []).insert(0, (index, None))
    for name in copies[0]:
        for number in (1, 2, 3):
            for place, index in enumerate(sequence):
                if copies[index][name] >= number:
                    queue.setdefault(place + number * spacing, []).append((index, name))
    return [entry for key in sorted(queue) for entry in queue[key]]


def test_an_epoch_equals_its_slow_reference(splits: dict[Split, Any]) -> None:
    train, model = splits[Split.TRAIN], model_of(splits)
    slow = build_model(train.meta, {n: MLP(width=8 + 4 * p) for p, n in enumerate(train.meta.modalities)}, 0)
    slow.load_state_dict(model.state_dict())
    values = {name: torch.from_numpy(found) for name, found in train.read(np.arange(96)).items()}
    with torch.no_grad():
        copies = [
            slow_copies(slow, {name: found[i : i + 1] for name, found in values.items()}, int(train.labels[i]))
            for i in range(96)
        ]
    assert {number for of_sample in copies for number in of_sample.values()} >= {0, 1, 2}
    sequence = CurriculumSampler(96, Random(), scores=np.zeros(96)).sequence().tolist()
    todo = slow_order(sequence, copies, 20)
    assert slow.fusion is not None
    assert len(todo) == 96 + sum(sum(of_sample.values()) for of_sample in copies)
    optimizer = build_optimizer(slow.parameters(), ONCE)
    for group in optimizer.param_groups:
        group["lr"] = 0.01
    for first in range(0, len(todo), 16):
        part = todo[first : first + 16] if len(todo) - first != 17 else todo[first : first + 17]
        if len(part) == 1:
            break
        rows = [index for index, _ in part]
        labels = torch.from_numpy(train.labels[rows])
        outputs = slow({name: found[rows] for name, found in values.items()})
        features = {
            name: torch.stack([f * (alone in (None, name)) for f, (_, alone) in zip(found, part, strict=True)])
            for name, found in outputs.features.items()
        }
        loss = cross_entropy(slow.fusion(features), labels)
        for name in features:
            seen = [row for row, (_, alone) in enumerate(part) if alone in (None, name)]
            loss = loss + cross_entropy(outputs.logits[name][seen], labels[seen], reduction="sum") / len(part)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    trainer, history = trained(splits, ModalityValuation(spacing=20), model)
    assert trainer.num_samples == history["num_samples"][-1] == len(todo)
    for name, counts in trainer.memory.items():
        assert counts.dtype == torch.uint8
        assert counts.tolist() == [of_sample[name] for of_sample in copies]
    for name, found in weights.take(trainer.model).items():
        assert torch.allclose(found, slow.state_dict()[name], atol=1e-5), name


def test_before_it_starts_it_is_joint(splits: dict[Split, Any]) -> None:
    method = ModalityValuation(starts=3, fused_weight=0.4)
    ends = [trained(splits, each, model_of(splits), 3) for each in (method, Joint(fused_weight=0.4))]
    one, other = (weights.take(trainer.model) for trainer, _ in ends)
    assert all(torch.equal(values, other[name]) for name, values in one.items())
    assert ends[0][1].equals(ends[1][1])
    assert not ends[0][0].memory
    later, _ = trained(splits, ModalityValuation(starts=2, fused_weight=0.4), model_of(splits), 3)
    assert later.num_samples > 3 * 96


@pytest.mark.parametrize("fusion", list(FUSIONS))
def test_any_fusion_is_asked_as_it_predicts(fusion: str, splits: dict[Split, Any]) -> None:
    """In eval mode, and it is in training mode again afterwards; what it says of all modalities is the evidence."""
    from bss.training.methods.modality_valuation import _values

    train, runtime = splits[Split.TRAIN], Runtime.start(SETTINGS)
    model = model_of(splits, fusion)
    assert model.fusion is not None
    model.fusion.register_module("chance", nn.Dropout(0.5))
    model.fusion.register_forward_hook(lambda whole, given, logits: whole.chance(logits))
    trainer = Trainer(model, ModalityValuation(), ONCE, runtime)
    model.train()
    evidence = split_evidence(trainer.module, train, 16, runtime)
    names = list(train.meta.modalities)
    present = {name: torch.ones(96, dtype=torch.bool) for name in names}
    values = _values(trainer, evidence.features, evidence.labels, present)
    assert set(values) == {frozenset(some) for size in range(len(names) + 1) for some in combinations(names, size)}
    right = evidence.logits["fused"].argmax(dim=1) == evidence.labels
    assert values[frozenset(names)].tolist() == (len(names) * right).tolist()
    assert model.fusion.training


def test_a_modality_that_a_sample_lacks_has_no_copies(splits: dict[Split, Any]) -> None:
    """It is worth nothing, and the others are valued as if there were no further one."""
    train, runtime = splits[Split.TRAIN], Runtime.start(SETTINGS)
    trainer = Trainer(model_of(splits), ModalityValuation(), ONCE, runtime)
    evidence = split_evidence(trainer.module, train, 16, runtime)
    features = {name: values.clone() for name, values in evidence.features.items()}
    for name in list(features)[1:]:
        features[name][::2] = 0
    gaps = replace(evidence, features=features)
    trainer.method.begin_epoch(trainer, 0, lambda: gaps, pytest.fail)
    names, fusion = list(features), trainer.model.fusion
    assert fusion is not None
    logits = fusion({name: values.to(runtime.device) for name, values in features.items()})
    right = (logits.argmax(dim=1) == evidence.labels)[::2]
    assert trainer.memory[names[0]][::2].tolist() == [0 if each else 2 for each in right.tolist()]
    assert all(not trainer.memory[name][::2].any() for name in names[1:])


def test_the_sequence_keeps_its_order_and_copies_follow() -> None:
    memory = {"a": torch.tensor([0, 3, 1], dtype=torch.uint8), "v": torch.tensor([2, 0, 0], dtype=torch.uint8)}
    sequence = np.array([2, 0, 1, 2])
    order = ModalityValuation(spacing=2).order(sequence, memory)
    assert order.cuts == ()
    shown = [
        (int(index), "av" if not (a or v) else "v" if a else "a")
        for index, a, v in zip(order.indices, order.hidden["a"], order.hidden["v"], strict=True)
    ]
    assert shown == [
        (2, "av"), (0, "av"), (1, "av"), (2, "a"), (2, "av"), (0, "v"), (1, "a"), (2, "a"), (0, "v"),
        (1, "a"), (1, "a"),
    ]  # fmt: skip
    plain = ModalityValuation().order(sequence, {})
    assert plain.indices.tolist() == sequence.tolist()
    assert not plain.hidden


def test_what_cannot_be_valued_is_refused(tmp_path: Path) -> None:
    for wrong in ({"starts": -1}, {"spacing": -1}, {"copies": 3}):
        with pytest.raises(ValidationError):
            ModalityValuation(**wrong)
    many = packed_toy(tmp_path / "nine", 9)
    meta = many[Split.TRAIN].meta
    model = build_model(meta, {name: MLP(width=4) for name in meta.modalities}, 0)
    with pytest.raises(ValueError, match="modality_valuation values all sets of 8 modalities at most; here are 9"):
        trained(many, ModalityValuation(), model)


def test_spread_weights_are_refused(splits: dict[Split, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Runtime, "is_sharded", property(lambda runtime: True))
    with pytest.raises(ValueError, match="needs ddp, not fsdp"):
        trained(splits, ModalityValuation(), model_of(splits))
