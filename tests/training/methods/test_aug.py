"""AUG against its equations, written out with loops."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from bss.curriculum.sampler import CurriculumSampler
from bss.curriculum.schedulers.random import Random
from bss.data.packed import PackedSplit
from bss.encoders.mlp import MLP
from bss.model import MultimodalModel, build_model, seeded
from bss.training import weights
from bss.training.loader import batches
from bss.training.loop import fit
from bss.training.methods.aug import AUG
from bss.training.methods.joint import Joint
from bss.training.runtime import Runtime
from bss.training.trainer import Trainer
from bss.types import Split
from tests.helpers.toy import SETTINGS, TRAIN, packed_toy

Splits = dict[Split, PackedSplit]


def toy_model(splits: Splits) -> MultimodalModel:
    meta = splits[Split.TRAIN].meta
    return build_model(meta, {name: MLP(width=16 + 8 * place) for place, name in enumerate(meta.modalities)}, 0)


def trained(splits: Splits, method: AUG | Joint, model: MultimodalModel, epochs: int = 4) -> MultimodalModel:
    sampler = CurriculumSampler(len(splits[Split.TRAIN]), Random())
    settings = TRAIN.model_copy(update={"keep": "last"})
    trainer = Trainer(model, method, settings, Runtime.start(SETTINGS))
    fit(trainer, sampler, splits[Split.TRAIN], splits[Split.VALIDATION], settings, epochs)
    return model


def unasked() -> Any:
    pytest.fail("no pass is needed")


def counts(model: MultimodalModel) -> list[int]:
    return [int(model.branch(name).head.count) for name in model.branches]


def softmax(row: Sequence[float]) -> list[float]:
    odds = [float(np.exp(value - max(row))) for value in row]
    return [value / sum(odds) for value in odds]


def slow_loss(each: Tensor, labels: Tensor, rate: float, released: bool) -> float:
    num_classifiers, num_samples, _ = each.shape
    total = 0.0
    for row in range(num_samples):
        y = int(labels[row])
        z = [each[t, row].tolist() for t in range(num_classifiers)]
        summed = [sum(values) for values in zip(*z, strict=True)]
        loss = -np.log(softmax(summed)[y])
        if num_classifiers > 1:
            before = [sum(values) for values in zip(*z[:-1], strict=True)]
            known = softmax(before)[y] if released else sum(softmax(values)[y] for values in z[:-1])
            residual = max(0.0, 1 - rate * known)
            loss += -residual * np.log(softmax(z[-1])[y]) - np.log(softmax(before)[y])
        total += loss
    return total / num_samples


@pytest.mark.parametrize("variant", ["published", "released"])
@pytest.mark.parametrize("number", [1, 2, 4])
def test_the_loss_is_that_of_the_equations(variant: str, number: int) -> None:
    torch.manual_seed(0)
    each, labels = 2 * torch.randn(number, 9, 3), torch.randint(3, (9,))
    method = AUG.model_validate({"variant": variant, "rate": 0.7})
    expected = slow_loss(each, labels, 0.7, variant == "released")
    assert float(method.boosting_loss(each, labels)) == pytest.approx(expected, rel=1e-5)


def test_what_is_known_already_is_no_target_of_the_newest() -> None:
    each = torch.randn(3, 5, 4, requires_grad=True)
    labels = torch.randint(4, (5,))
    AUG(rate=1.0).boosting_loss(each, labels).backward()
    assert each.grad is not None
    only_sums = each.detach().clone().requires_grad_()
    losses = [torch.nn.functional.cross_entropy(only_sums[:stop].sum(dim=0), labels) for stop in (2, 3)]
    torch.stack(losses).sum().backward()
    assert only_sums.grad is not None
    assert torch.allclose(each.grad[:2], only_sums.grad[:2], atol=1e-6), "no gradient by way of the residual"


def test_a_step_is_one_of_each_modality_in_turn(splits: Splits) -> None:
    train = splits[Split.TRAIN]
    own, slow = toy_model(splits), toy_model(splits)
    lr = 0.1
    settings = TRAIN.model_copy(update={"optimizer": "sgd", "momentum": 0.0, "weight_decay": 0.0, "lr": lr})
    method = AUG(hidden=8)
    trainer = Trainer(own, method, settings, Runtime.start(SETTINGS))
    with seeded(0, "weights of aug"):
        method.prepare(slow)
    for model in (own, slow):
        model.branch("m1").head.count += 1
    method.begin_epoch(trainer, 0, unasked, unasked)
    (batch,) = batches(train, np.arange(20), 20, Runtime.start(SETTINGS))
    outputs, loss = method.step(trainer, batch)
    total = 0.0
    for name in slow.branches:
        branch = slow.branch(name)
        features, logits = branch(batch.inputs[name])
        assert torch.allclose(outputs.logits[name], logits, atol=1e-6), "from before its own step"
        each = branch.head.each(features)
        value = method.boosting_loss(each, batch.labels)
        total += value.item()
        slow.zero_grad()
        value.backward()
        with torch.no_grad():
            for weight in slow.parameters():
                if weight.grad is not None:
                    weight.sub_(lr * weight.grad)
    assert float(loss) == pytest.approx(total, rel=1e-5)
    assert torch.allclose(outputs.logits["fused"], sum(outputs.logits[name] for name in slow.branches), atol=1e-6)
    for name, values in weights.take(slow).items():
        assert torch.allclose(weights.take(own)[name], values, atol=1e-6), name


@pytest.mark.parametrize("variant", ["published", "released"])
@pytest.mark.parametrize(
    ("sigma", "scores", "weak"),
    [
        (0.9, [1, 1], [1]), (0.9, [1, 0.8], [1]), (0.9, [0.8, 1], [0]),
        (1.1, [1, 1], [0]), (1.0, [1, 1], []), (1.0, [0, 0], []), (1.0, [1, 0], [1]), (1.0, [0, 1], [0]),
        (0.9, [1, 1, 0.5], [1, 2]), (1.0, [0.4, 1, 0.995], [0]),
    ],
)  # fmt: skip
def test_the_strongest_never_gets_a_classifier(
    variant: Any, sigma: float, scores: list[float], weak: list[int]
) -> None:
    assert AUG(variant=variant, sigma=sigma).weak(scores) == weak


@pytest.mark.parametrize(
    ("variant", "sums", "expected"),
    [
        ("published", [8.0, 5.0], [1, 2]),
        ("published", [5.0, 8.0], [2, 1]),
        ("published", [5.0, 5.05], [1, 1]),
        ("released", [5.1, 5.0], [1, 2]),
        ("released", [5.0, 5.04], [1, 1]),
    ],
)
def test_the_weak_modality_gets_a_classifier(
    tmp_path: Path, variant: str, sums: list[float], expected: list[int]
) -> None:
    splits = packed_toy(tmp_path)
    method = AUG.model_validate({"variant": variant, "interval": 2, "max_classifiers": 2, "tau": 0.01})
    trainer = Trainer(toy_model(splits), method, TRAIN, Runtime.start(SETTINGS))
    for epoch in range(4):
        trainer.memory["sums"], trainer.memory["num_samples"] = torch.tensor(sums).double(), torch.tensor(10)
        method.begin_epoch(trainer, epoch, unasked, unasked)
        starts = 1 if variant == "released" else 2  # the code also assigns after the first epoch
        assert counts(trainer.model) == ([1, 1] if epoch < starts else expected), epoch
        assert trainer.memory["sums"].tolist() == [0, 0]
    trainer.memory["sums"], trainer.memory["num_samples"] = torch.tensor(sums).double(), torch.tensor(10)
    method.begin_epoch(trainer, 4, unasked, unasked)
    assert counts(trainer.model) == expected, "no more than max_classifiers"


def test_of_several_each_is_compared_with_the_strongest(tmp_path: Path) -> None:
    splits = packed_toy(tmp_path, 3)
    trainer = Trainer(toy_model(splits), AUG(interval=1), TRAIN, Runtime.start(SETTINGS))
    trainer.memory["sums"], trainer.memory["num_samples"] = torch.tensor([9.0, 5.0, 8.95]).double(), torch.tensor(10)
    trainer.method.begin_epoch(trainer, 1, unasked, unasked)
    assert counts(trainer.model) == [1, 2, 1]


def test_before_the_first_added_classifier_it_is_joint_with_its_heads(splits: Splits) -> None:
    own = trained(splits, AUG(interval=99, alternating=False), toy_model(splits))
    model = toy_model(splits)
    with seeded(0, "weights of aug"):
        AUG(interval=99).prepare(model)
    joint = trained(splits, Joint(fused_weight=0), model)
    for name, values in weights.take(joint).items():
        assert torch.equal(weights.take(own)[name], values), name


@pytest.mark.parametrize("variant", ["published", "released"])
def test_added_classifiers_train_as_published_and_stay_as_released(splits: Splits, variant: str) -> None:
    method = AUG.model_validate({"variant": variant, "interval": 1, "tau": 0.0, "max_classifiers": 3})
    model = toy_model(splits)
    trainer = Trainer(model, method, TRAIN, Runtime.start(SETTINGS))
    held = {id(weight) for group in trainer.optimizer.param_groups for weight in group["params"]}
    added = [layer.weight for name in model.branches for layer in model.branch(name).head.first[1:]]
    assert {id(weight) in held for weight in added} == {variant == "published"}
    before = {name: values.clone() for name, values in model.state_dict().items()}
    sampler = CurriculumSampler(len(splits[Split.TRAIN]), Random())
    fit(trainer, sampler, splits[Split.TRAIN], splits[Split.VALIDATION], TRAIN.model_copy(update={"keep": "last"}), 5)
    assert max(counts(model)) > 1
    for name in model.branches:
        head = model.branch(name).head
        for number in range(3):
            moved = not torch.equal(head.first[number].weight, before[f"branches.{name}.head.first.{number}.weight"])
            assert moved == (number == 0 or (variant == "published" and number < int(head.count)))


class Reads(TorchDispatchMode):
    """Counts how often a value goes from a tensor to Python, for which a GPU has to end what it is at."""

    num_reads = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.num_reads += function is torch.ops.aten._local_scalar_dense.default
        return function(*args, **(kwargs or {}))


def test_the_number_in_use_is_read_once_after_each_change(splits: Splits) -> None:
    model, grown = toy_model(splits), toy_model(splits)
    for each in (model, grown):
        AUG(max_classifiers=3).prepare(each)
    head = model.branch("m0").head
    features = torch.randn(4, head.first[0].in_features)

    def num_each() -> tuple[int, int]:
        with Reads() as reads:
            found = {len(head.each(features)) for _ in range(3)}
        (number,) = found
        return number, reads.num_reads

    assert (num_each(), num_each()) == ((1, 1), (1, 0))
    head.count += 1
    assert (num_each(), num_each()) == ((2, 1), (2, 0))
    grown.branch("m0").head.count += 2
    weights.give(model, weights.take(grown))
    assert (num_each(), num_each()) == ((3, 1), (3, 0))
    for number, assign in ((1, False), (2, True)):
        grown.branch("m0").head.count.fill_(number)
        model.load_state_dict(weights.take(grown), assign=assign)
        assert (num_each(), num_each()) == ((number, 1), (number, 0))


def test_the_released_prediction_weighs_the_two_logits() -> None:
    torch.manual_seed(0)
    logits = {"a": torch.randn(6, 4).double(), "v": torch.randn(6, 4).double()}
    probabilities = {name: values.softmax(dim=1).numpy() for name, values in logits.items()}
    arrays = {name: values.numpy() for name, values in logits.items()}
    found = AUG(variant="released").decide(probabilities, arrays)
    assert found is not None
    assert np.allclose(found, (0.4 * logits["a"] + 0.6 * logits["v"]).softmax(dim=1).numpy())
    assert AUG().decide(probabilities, arrays) is None
    assert (
        AUG(variant="released").decide({**probabilities, "t": probabilities["a"]}, {**arrays, "t": arrays["a"]})
        is None
    )
