"""Modality equilibrium."""

from itertools import permutations

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from bss.data.packed import PackedSplit
from bss.encoders.mlp import MLP
from bss.model import MultimodalModel, build_model
from bss.training.loader import batches
from bss.training.loop import split_evidence
from bss.training.methods.equilibrium import Equilibrium
from bss.training.methods.joint import Joint
from bss.training.methods.method import Method
from bss.training.runtime import Runtime
from bss.training.settings import Optimisation
from bss.training.trainer import Trainer
from bss.types import Split
from tests.helpers.toy import SETTINGS, TRAIN, packed_toy

SGD = Optimisation(batch_size=16, optimizer="sgd", lr=0.05, weight_decay=0, momentum=0)


@pytest.fixture(scope="module", params=[2, 3], ids=lambda number: f"{number} modalities")
def train(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> PackedSplit:
    return packed_toy(tmp_path_factory.mktemp("toy"), request.param)[Split.TRAIN]


def trained(train: PackedSplit, method: Method, settings: Optimisation = SGD, epochs: int = 2) -> Trainer:
    encoders = {name: MLP(width=8 + 4 * place) for place, name in enumerate(train.meta.modalities)}
    trainer = Trainer(build_model(train.meta, encoders, 0), method, settings, Runtime.start(SETTINGS))
    for epoch in range(epochs):
        method.begin_epoch(
            trainer, epoch, lambda: split_evidence(trainer.module, train, 16, trainer.runtime), pytest.fail
        )
        trainer.train_epoch(batches(train, np.arange(96), 16, trainer.runtime), 0.05)
    return trainer


def slow_shares(model: MultimodalModel, train: PackedSplit) -> dict[str, float]:
    """The mean gain of a modality over all orders in which they join, set by set and sample by sample."""
    names, fusion = list(model.branches), model.fusion
    assert fusion is not None
    with torch.no_grad():
        features = model({name: torch.from_numpy(v) for name, v in train.read(np.arange(96)).items()}).features

        def value(some: tuple[str, ...]) -> float:
            p = fusion({n: f if n in some else 0 * f for n, f in features.items()}).softmax(dim=1)
            return sum(float(row[label]) for row, label in zip(p, train.labels.tolist(), strict=True)) / 96

        orders = list(permutations(names))
        phi = {
            name: sum(value(o[: o.index(name) + 1]) - value(o[: o.index(name)]) for o in orders) / len(orders)
            for name in names
        }
    total = sum(max(each, 0) for each in phi.values())
    return {name: max(each, 0) / total if total else 1 / len(names) for name, each in phi.items()}


def slow_training(train: PackedSplit, method: Equilibrium, epochs: int) -> tuple[MultimodalModel, int]:
    """Plain gradient descent written from the description; the model, and the most updates of one in a step."""
    model = trained(train, method, epochs=0).model
    names = list(model.branches)
    most = 1
    assert model.fusion is not None
    for _ in range(epochs):
        shares = slow_shares(model, train)
        for first in range(0, 96, 16):
            rows = np.arange(first, first + 16)
            values, labels = train.read(rows), torch.from_numpy(train.labels[rows])
            known = {n: model.branch(n)(torch.from_numpy(values[n]))[0].detach() for n in names}
            for name in sorted(names, key=lambda n: shares[n]):
                repeats = 1 + round(method.repeat * max(0, 1 / len(names) - shares[name]) * len(names))
                most = max(most, repeats)
                for _ in range(repeats):
                    features, logits = model.branch(name)(torch.from_numpy(values[name]))
                    fused = model.fusion({**known, name: features})
                    loss = method.unimodal_weight * cross_entropy(logits, labels)
                    loss = loss + method.fused_weight * cross_entropy(fused, labels)
                    weights = [*model.branch(name).parameters(), *model.fusion.parameters()]
                    with torch.no_grad():
                        for weight, gradient in zip(weights, torch.autograd.grad(loss, weights), strict=True):
                            weight.sub_(0.05 * gradient)
                known[name] = features.detach()
    return model, most


@pytest.mark.parametrize("repeat", [0.0, 4.0])
def test_a_training_equals_its_slow_reference(repeat: float, train: PackedSplit) -> None:
    method = Equilibrium(repeat=repeat, fused_weight=0.7)
    slow, most = slow_training(train, method, 3)
    assert (most > 1) == (repeat > 0), "a weak one had further updates"
    for name, values in trained(train, method, epochs=3).model.state_dict().items():
        assert torch.allclose(values, slow.state_dict()[name], atol=1e-5), name


def test_the_weakest_comes_first_and_a_very_weak_one_again() -> None:
    method = Equilibrium()
    assert list(method.turns({"a": 0.75, "v": 0.25}).items()) == [("v", 1), ("a", 1)]  # a half is rounded to even
    assert list(method.turns({"a": 0.8, "v": 0.2}).items()) == [("v", 2), ("a", 1)]
    assert list(method.turns({"a": 0.5, "v": 0.0, "t": 0.5}).items()) == [("v", 2), ("a", 1), ("t", 1)]
    assert list(method.turns({"a": 0.5, "v": 0.5}).items()) == [("a", 1), ("v", 1)], "the order of the model at a tie"
    assert Equilibrium(repeat=0).turns({"a": 1.0, "v": 0.0}) == {"v": 1, "a": 1}
    assert Equilibrium(repeat=3).turns({"a": 1.0, "v": 0.0}) == {"v": 4, "a": 1}


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_without_fused_loss_and_repetition_the_modalities_learn_as_in_joint(
    optimizer: str, train: PackedSplit
) -> None:
    settings = TRAIN.model_copy(update={"optimizer": optimizer})
    one = trained(train, Equilibrium(fused_weight=0, repeat=0), settings).model.branches.state_dict()
    other = trained(train, Joint(fused_weight=0), settings).model.branches.state_dict()
    for name, values in one.items():
        assert torch.equal(values, other[name]), name


def test_where_no_modality_contributes_all_have_the_same_share(train: PackedSplit) -> None:
    trainer = trained(train, Equilibrium(), epochs=0)
    with torch.no_grad():
        assert trainer.model.fusion is not None
        for weight in trainer.model.fusion.parameters():
            weight.zero_()
    evidence = split_evidence(trainer.module, train, 16, trainer.runtime)
    trainer.method.begin_epoch(trainer, 0, lambda: evidence, pytest.fail)
    number = len(trainer.model.branches)
    assert trainer.memory["shares"].tolist() == [1 / number] * number


def test_the_evidence_is_of_the_model_before_the_step(train: PackedSplit) -> None:
    trainer = trained(train, Equilibrium(), epochs=1)
    batch = next(iter(batches(train, np.arange(96), 16, trainer.runtime)))
    before = trainer.model(batch.inputs)
    trainer._num_rows = 16
    outputs, _ = trainer.method.step(trainer, batch)
    for group, other in zip(outputs, before, strict=True):
        for name, values in group.items():
            assert torch.equal(values, other[name]), name
