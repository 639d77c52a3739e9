"""ReconBoost."""

from math import exp, log

import numpy as np
import pytest
import torch

from bss.data.packed import PackedSplit
from bss.encoders.mlp import MLP
from bss.model import MultimodalModel, build_model
from bss.training import weights
from bss.training.loader import batches
from bss.training.methods.joint import Joint
from bss.training.methods.method import Method
from bss.training.methods.reconboost import ReconBoost
from bss.training.runtime import Runtime
from bss.training.settings import Optimisation
from bss.training.trainer import Trainer
from bss.types import Split
from tests.helpers.toy import SETTINGS, TRAIN, packed_toy

SGD = Optimisation(batch_size=16, optimizer="sgd", lr=0.05, weight_decay=0, momentum=0)


class SumOfHeads(Joint):
    """`joint` on the heads that ReconBoost gives the model."""

    def prepare(self, model: MultimodalModel) -> None:
        ReconBoost().prepare(model)


@pytest.fixture(scope="module", params=[2, 3], ids=lambda number: f"{number} modalities")
def train(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> PackedSplit:
    return packed_toy(tmp_path_factory.mktemp("toy"), request.param)[Split.TRAIN]


def model_of(train: PackedSplit) -> MultimodalModel:
    return build_model(train.meta, {name: MLP(width=8) for name in train.meta.modalities}, 0)


def run(trainer: Trainer, train: PackedSplit, epochs: int) -> Trainer:
    for _ in range(epochs):
        trainer.train_epoch(batches(train, np.arange(96), 16, trainer.runtime), 0.05, length=6)
    return trainer


def trained(train: PackedSplit, method: Method, settings: Optimisation = TRAIN, epochs: int = 1) -> Trainer:
    return run(Trainer(model_of(train), method, settings, Runtime.start(SETTINGS)), train, epochs)


def slow_loss(method: ReconBoost, logits: list[torch.Tensor], epoch: int, labels: list[int]) -> torch.Tensor:
    """Sample by sample and class by class."""
    number, place = divmod(epoch, method.boost_epochs + method.rectify_epochs)
    total = torch.zeros(())
    for i, label in enumerate(labels):
        rows = [values[i] for values in logits]
        if place >= method.boost_epochs:
            summed = sum(rows[1:], rows[0])
            total = total - (summed[label] - torch.stack([z.exp() for z in summed]).sum().log())
            continue
        m = number % len(rows)
        p = rows[m].exp() / rows[m].exp().sum()
        others = [sum(rows[o][c].item() for o in range(len(rows)) if o != m) for c in range(3)]
        q = exp(others[label]) / sum(map(exp, others))
        own = -method.label_weight * p[label].log() + method.residual_weight * q * p[label].log()
        if method.variant == "released":
            own = own / 3
        elif number:
            before = [exp(z.item()) for z in rows[(number - 1) % len(rows)]]
            away = sum((p[c] - before[c] / sum(before)) ** 2 for c in range(3))
            own = own + method.memory_weight * away / 3
        total = total + own
    return total / len(labels)


@pytest.mark.parametrize("variant", ["published", "released"])
def test_epochs_equal_their_slow_reference(variant: str, train: PackedSplit) -> None:
    method = ReconBoost(variant=variant, hidden=4)
    trainer = Trainer(model_of(train), method, SGD, Runtime.start(SETTINGS))
    slow = Trainer(model_of(train), method, SGD, Runtime.start(SETTINGS)).model
    learned = list(slow.parameters())
    for epoch in range(2 * len(train.meta.modalities) + 1):
        for number in range(6):
            rows = np.arange(16 * number, 16 * (number + 1))
            read = train.read(rows)
            logits = [branch(torch.from_numpy(read[name]))[1] for name, branch in slow.branches.items()]
            loss = slow_loss(method, logits, epoch, train.labels[rows].tolist())
            gradients = torch.autograd.grad(loss, learned, allow_unused=True)
            with torch.no_grad():
                for weight, gradient in zip(learned, gradients, strict=True):
                    if gradient is not None:
                        weight.sub_(0.05 * gradient)
        run(trainer, train, 1)
        for name, values in trainer.model.state_dict().items():
            assert torch.allclose(values, slow.state_dict()[name], atol=1e-5), (epoch, name)


def test_without_boosting_it_is_joint_on_the_summed_logits(train: PackedSplit) -> None:
    runtime = Runtime.start(SETTINGS)
    start = Trainer(model_of(train), ReconBoost(boost_epochs=0), TRAIN, runtime)
    joint = Trainer(model_of(train), SumOfHeads(fused_weight=1, unimodal_weight=0), TRAIN, runtime)
    # The seed of the heads names the method, so the same start is given by hand.
    joint.model.load_state_dict(start.model.state_dict())
    run(joint, train, 2)
    for name, values in run(start, train, 2).model.state_dict().items():
        assert torch.equal(values, joint.model.state_dict()[name]), name


def test_only_the_modality_of_the_stage_trains_while_boosting(train: PackedSplit) -> None:
    trainer = Trainer(model_of(train), ReconBoost(boost_epochs=2, rectify_epochs=1), TRAIN, Runtime.start(SETTINGS))
    names, seen = list(trainer.model.branches), []
    for _ in range(3 * len(names) + 1):
        before = {name: values.clone() for name, values in trainer.model.state_dict().items()}
        run(trainer, train, 1)
        moved = {name for name, values in trainer.model.state_dict().items() if not torch.equal(values, before[name])}
        seen.append([name for name in names if any(f"branches.{name}.encoder" in weight for weight in moved)])
        assert "branches.m0.head.2.weight" in moved, "the shared layer"
    assert seen == [trains for name in names for trains in ([name], [name], names)] + [["m0"]]


def test_the_stage_is_a_function_of_the_epoch() -> None:
    method = ReconBoost(boost_epochs=2, rectify_epochs=1)
    assert [method.stage(epoch) for epoch in range(4)] == [(0, True), (0, True), (0, False), (1, True)]
    assert not ReconBoost(boost_epochs=0).stage(5)[1]
    assert ReconBoost(rectify_epochs=0).stage(5) == (5, True)


def test_momentum_is_forgotten_where_a_phase_begins(train: PackedSplit) -> None:
    method = ReconBoost(boost_epochs=2, rectify_epochs=1)
    trainer = Trainer(model_of(train), method, TRAIN, Runtime.start(SETTINGS))
    kept = []
    for epoch in range(5):
        method.begin_epoch(trainer, epoch, pytest.fail, pytest.fail)
        kept.append(bool(trainer.optimizer.state))
        run(trainer, train, 1)
    assert kept == [False, True, False, False, True]


def test_the_memory_term_has_a_gradient_as_published_alone() -> None:
    torch.manual_seed(0)
    own, other, labels = torch.randn(4, 3, requires_grad=True), torch.randn(4, 3), torch.tensor([0, 1, 2, 0])
    gradients = {}
    for variant in ("published", "released"):
        for weight in (0.0, 2.0):
            method = ReconBoost(variant=variant, memory_weight=weight)
            loss = method.boosting_loss(own, [other], other, labels)
            gradients[variant, weight] = torch.autograd.grad(loss, own)[0]
    assert not torch.allclose(gradients["published", 0.0], gradients["published", 2.0])
    assert torch.equal(gradients["released", 0.0], gradients["released", 2.0])
    assert torch.allclose(gradients["published", 0.0], 3 * gradients["released", 0.0])


def test_who_lacks_the_modality_before_remembers_nothing() -> None:
    torch.manual_seed(0)
    own, labels = torch.randn(3, 3, requires_grad=True), torch.tensor([0, 1, 2])
    before = torch.randn(3, 3)
    before[1] = 0
    found = [
        torch.autograd.grad(ReconBoost(memory_weight=weight).boosting_loss(own, [before], before, labels), own)[0]
        for weight in (0.0, 2.0)
    ]
    assert torch.equal(found[0][1], found[1][1])
    assert not torch.allclose(found[0][0], found[1][0])


def test_without_residuals_the_label_alone_counts() -> None:
    torch.manual_seed(0)
    own, other, labels = torch.randn(4, 3), torch.randn(4, 3), torch.tensor([0, 1, 2, 0])
    method = ReconBoost(residual_weight=0, label_weight=2, memory_weight=0)
    slow = -sum(log(float(row.softmax(0)[label])) for row, label in zip(own, labels, strict=True)) / 4
    assert float(method.boosting_loss(own, [other], other, labels)) == pytest.approx(2 * slow)


def test_layers_are_shared_as_the_variant_says(train: PackedSplit) -> None:
    for variant, shares in (("published", False), ("released", True)):
        model = model_of(train)
        ReconBoost(variant=variant, hidden=5).prepare(model)
        first, second = (list(model.branch(name).head.children()) for name in ("m0", "m1"))
        assert first[2] is second[2]
        assert (first[0] is second[0]) == shares
        assert model.fusion is None


def test_the_outputs_are_all_modalities_and_their_sum(train: PackedSplit) -> None:
    runtime = Runtime.start(SETTINGS)
    trainer = Trainer(model_of(train), ReconBoost(), SGD, runtime)
    trainer._num_rows = 16
    batch = next(iter(batches(train, np.arange(96), 16, runtime)))
    first = trainer.model(batch.inputs)
    outputs, _ = trainer.method.step(trainer, batch)
    assert list(outputs.logits) == list(first.logits)
    assert list(outputs.features) == list(first.features)
    for name, values in outputs.logits.items():
        assert torch.allclose(values, first.logits[name]), name


def test_a_new_model_takes_the_weights_once_prepared(train: PackedSplit) -> None:
    found = weights.take(trained(train, ReconBoost()).model)
    model = model_of(train)
    ReconBoost().prepare(model)
    model.load_state_dict(found)
    for name, values in model.state_dict().items():
        assert torch.equal(values, found[name]), name


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"boost_epochs": 0, "rectify_epochs": 0}, "a stage would have no epoch"),
        ({"label_weight": 1.0, "residual_weight": 2.0}, "residual_weight is 2.0, above label_weight"),
        ({"hidden": 0}, "greater than or equal to 1"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ReconBoost(**settings)
