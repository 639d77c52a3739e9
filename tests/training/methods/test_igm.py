"""Interactive learning by flat gradients."""

from dataclasses import replace
from functools import partial
from math import exp

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from bss.encoders.mlp import MLP
from bss.model import MultimodalModel, build_model
from bss.training import weights
from bss.training.loader import Batch, batches
from bss.training.loop import split_evidence
from bss.training.methods._layer_uses import flattening, layer_uses
from bss.training.methods.igm import IGM
from bss.training.methods.method import Method
from bss.training.methods.mla import MLA
from bss.training.runtime import Runtime
from bss.training.settings import Optimisation
from bss.training.trainer import Trainer
from bss.types import PRESENT, Split
from tests.helpers.steps import Splits, assert_same, first_batch, gradients
from tests.helpers.toy import SETTINGS, TRAIN, packed_toy

SGD = Optimisation(batch_size=32, optimizer="sgd", lr=0.05, weight_decay=0, momentum=0)


@pytest.fixture(scope="module", params=[2, 3], ids=lambda number: f"{number} modalities")
def splits(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Splits:
    return packed_toy(tmp_path_factory.mktemp("toy"), request.param)


def trainer_of(splits: Splits, method: Method, settings: Optimisation = SGD, *, plain: bool = True) -> Trainer:
    """The last modality is wider than the others."""
    meta = splits[Split.TRAIN].meta
    wide = {name: MLP(width=8 if name in ("m0", "m1") else 12) for name in meta.modalities}
    return Trainer(build_model(meta, wide if plain else {}, 0), method, settings, Runtime.start(SETTINGS))


def run(trainer: Trainer, splits: Splits, epochs: int) -> Trainer:
    train = splits[Split.TRAIN]
    for _ in range(epochs):
        trainer.method.begin_epoch(
            trainer, trainer.epoch, lambda: split_evidence(trainer.module, train, 32, trainer.runtime), pytest.fail
        )
        trainer.train_epoch(batches(train, np.arange(96), 32, trainer.runtime), 0.05)
    return trainer


def slow_projections(head: nn.Module, features: Tensor, order: Tensor, temperature: float) -> dict[int, Tensor]:
    """Layer by layer, batch by batch, direction by direction."""
    found = {}
    first, _, second, third = head.children()
    for place, layer in ((0, first), (2, second), (3, third)):
        assert isinstance(layer, nn.Linear)
        width = layer.in_features
        y = torch.zeros(width, width, dtype=torch.float64)
        for rows in order.split(32):
            given = features[rows]
            inputs = {0: lambda x: x, 2: lambda x: first(x).relu(), 3: lambda x: second(first(x).relu())}[place](
                given
            )
            u = torch.tensor([float(column.double().sum()) / len(rows) for column in inputs.detach().T])
            y += u.double()[:, None] * u.double()[None]
        sizes, directions = np.linalg.eigh(y.numpy())
        t = np.zeros((width, width))
        for size, v in zip(sizes, directions.T, strict=True):
            t += exp(-temperature * (size - min(sizes)) / (max(sizes) - min(sizes))) * np.outer(v, v)
        found[place] = torch.from_numpy(t).float()
    return found


def slow_training(splits: Splits, method: IGM, epochs: int) -> MultimodalModel:
    """Plain gradient descent written from the equations."""
    trainer, train = trainer_of(splits, method), splits[Split.TRAIN]
    model, names = trainer.model, list(trainer.model.branches)
    every = torch.from_numpy(np.arange(96))
    number, projections = 0, dict[int, Tensor]()
    for epoch in range(epochs):
        branch = model.branch(names[epoch // method.stage_epochs % len(names)])
        name = names[epoch // method.stage_epochs % len(names)]
        if epoch and epoch % method.stage_epochs == 0:
            before = names[(epoch - 1) // method.stage_epochs % len(names)]
            trainer.num_steps = number
            order = torch.randperm(96, generator=trainer.generator("batches of the projection"))
            with torch.no_grad():
                features, _ = model.branch(before)(torch.from_numpy(train.read(every.numpy())[before]))
                projections = slow_projections(model.branch(before).head, features, order, method.temperature)
        for rows in every.split(32):
            number += 1
            values, labels = torch.from_numpy(train.read(rows.numpy())[name]), torch.from_numpy(train.labels[rows])
            parameters = list(branch.parameters())
            g = torch.autograd.grad(cross_entropy(branch(values)[1], labels), parameters)
            norm = sum(float(each.double().square().sum()) for each in g) ** 0.5
            old = [weight.detach().clone() for weight in parameters]
            with torch.no_grad():
                for weight, each in zip(parameters, g, strict=True):
                    weight.add_(method.rho * each / norm)
            g = torch.autograd.grad(cross_entropy(branch(values)[1], labels), parameters)
            layers = {id(layer.weight): place for place, layer in enumerate(branch.head) if place != 1}
            with torch.no_grad():
                for weight, each, was in zip(parameters, g, old, strict=True):
                    t = projections.get(layers.get(id(weight), -1))
                    turned = each @ t if t is not None and len(t) == each.shape[-1] else each
                    weight.copy_(was - 0.05 * turned)
    return model


@pytest.mark.parametrize("rho", [0.0, 0.2])
def test_stages_equal_their_slow_reference(rho: float, splits: Splits) -> None:
    method = IGM(rho=rho, temperature=1.5)
    fast = run(trainer_of(splits, method), splits, 4).model
    slow = slow_training(splits, method, 4).state_dict()
    for name, values in fast.state_dict().items():
        assert torch.allclose(values, slow[name], atol=1e-5), name
    plain = run(trainer_of(splits, IGM(rho=rho, temperature=0)), splits, 4).model.state_dict()
    changed = "branches.m1.head.3.weight"
    assert not torch.allclose(plain[changed], slow[changed], atol=1e-4)


def test_a_projection_by_hand() -> None:
    head = nn.Sequential(nn.Linear(2, 3))
    uses = layer_uses(head, [torch.tensor([[1.0, -1], [1, 1]]), torch.tensor([[1.0, 1]])])["0"]
    assert uses.tolist() == [[2, 1], [1, 1]]
    t = flattening(uses, 0.4)
    assert t.flatten().tolist() == pytest.approx([0.761441, -0.147437, -0.147437, 0.908879], abs=1e-6)
    assert (torch.tensor([1.0, 2.0]) @ t).tolist() == pytest.approx([0.466567, 1.670320], abs=1e-6)
    assert torch.allclose(flattening(uses, 0), torch.eye(2))
    assert torch.allclose(flattening(torch.zeros(2, 2), 1), torch.eye(2)), "nothing is used more than anything else"


class Turns(IGM):
    """A stage of one modality after the other, each with its plain cross-entropy."""

    def step(self, trainer: Trainer, batch: Batch):  # type: ignore[no-untyped-def]
        [turn] = self.trains(list(trainer.model.branches), trainer.epoch)
        outputs = trainer.forward(batch.of([turn]))
        return self.descend(trainer, batch, outputs, cross_entropy(outputs.logits[turn], batch.labels))


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_without_projection_it_takes_plain_turns(optimizer: str, splits: Splits) -> None:
    settings = TRAIN.model_copy(update={"optimizer": optimizer})
    one, other = (trainer_of(splits, by(temperature=0, rho=0), settings, plain=False) for by in (IGM, Turns))
    other.model.load_state_dict(one.model.state_dict())
    assert_same(run(one, splits, 4).model.state_dict(), run(other, splits, 4).model.state_dict())


@pytest.mark.parametrize("variant", ["published", "released"])
def test_one_trains_at_a_time_and_the_others_stay(variant: str, splits: Splits) -> None:
    """Their batch statistics too; those of the one that trains take in each batch once."""
    trainer = trainer_of(splits, IGM(variant=variant, stage_epochs=2, rho=0.01), plain=False)
    names = list(trainer.model.branches)
    for epoch in range(2 * len(names) + 1):
        before = weights.take(trainer.model)
        run(trainer, splits, 1)
        after = weights.take(trainer.model)
        moved = {name.split(".")[1] for name, values in after.items() if not torch.equal(values, before[name])}
        assert moved == {names[epoch // 2 % len(names)]} == set(trainer.method.trains(names, epoch))
        counts = {int(after[name] - before[name]) for name in after if name.endswith("num_batches_tracked")}
        assert counts == {0, 3}


def test_momentum_is_forgotten_where_a_turn_begins(splits: Splits) -> None:
    method = IGM(stage_epochs=2)
    trainer = trainer_of(splits, method, TRAIN)
    kept = []
    for epoch in range(5):
        evidence = split_evidence(trainer.module, splits[Split.TRAIN], 32, trainer.runtime)
        method.begin_epoch(trainer, epoch, partial(replace, evidence), pytest.fail)
        kept.append(bool(trainer.optimizer.state))
        trainer.train_epoch(batches(splits[Split.TRAIN], np.arange(96), 32, trainer.runtime), 0.05)
    assert kept == [False, True, False, True, False]


def test_a_released_step_is_of_a_mixture_and_a_moved_head(splits: Splits) -> None:
    method = IGM(variant="released", rho=0.1, flat_weight=0.4)
    batch = first_batch(splits, 16)
    trainer = trainer_of(splits, method)
    found, branch = gradients(trainer, batch), trainer_of(splits, method).model.branch("m0")
    order = torch.randperm(16, generator=trainer.generator("partners of a mixture"))
    share = np.random.default_rng(trainer.generator("share of a mixture").initial_seed()).beta(1, 1)
    values = batch.inputs["m0"].float()
    features = branch.encoder((share * values + (1 - share) * values[order] - branch.mean) / branch.std)
    z, y = branch.head(features), batch.labels
    mixed = share * cross_entropy(z, y) + (1 - share) * cross_entropy(z, y[order])
    taken = torch.autograd.grad(mixed, list(branch.head.parameters()), retain_graph=True)
    g = dict(zip(dict(branch.head.named_parameters()), taken, strict=True))
    moved = {
        name: weight + 0.1 * (g[name] / g[name].norm()).detach() for name, weight in branch.head.named_parameters()
    }
    again = (features @ moved["0.weight"].T + moved["0.bias"]).relu() @ moved["2.weight"].T + moved["2.bias"]
    flat = cross_entropy(again @ moved["3.weight"].T + moved["3.bias"], y)
    (0.6 * mixed + 0.4 * flat).backward()
    for name, weight in branch.named_parameters():
        assert torch.allclose(found[f"branches.m0.{name}"], weight.grad, atol=1e-5), name
    after = trainer.model.branch("m0").head.state_dict()
    for name, weight in moved.items():
        assert torch.allclose(after[name], weight, atol=1e-6), "it is never taken back"


def test_what_cannot_be_mixed_is_left_as_it_is(splits: Splits) -> None:
    method, batch = IGM(variant="released"), first_batch(splits, 16)
    trainer = trainer_of(splits, method)
    trainer._num_rows = 16
    tokens = batch._replace(inputs={**batch.inputs, "m0": batch.inputs["m0"].int()})
    for given, by in ((tokens, method), (batch, IGM(variant="released", mixup=0))):
        inputs, partners, share = by._mixed(trainer, given, "m0")
        assert inputs["m0"] is given.inputs["m0"]
        assert partners.tolist() == list(range(16))
        assert share == 1
    there = torch.arange(16) % 3 > 0
    gaps = batch._replace(inputs={**batch.inputs, f"m0{PRESENT}": there})
    inputs, partners, _ = method._mixed(trainer, gaps, "m0")
    assert (partners != torch.arange(16)).any()
    for row, partner in enumerate(partners.tolist()):
        assert row == partner or (there[row] and there[partner])
        if row == partner:
            assert torch.allclose(inputs["m0"][row], batch.inputs["m0"][row].float())


def test_a_mixture_goes_on_where_one_of_its_sequences_has_ended(splits: Splits) -> None:
    method, batch = IGM(variant="released"), first_batch(splits, 16)
    trainer = trainer_of(splits, method)
    trainer._num_rows = 16
    values = batch.inputs["m0"].float().flatten(1)[:, :4].contiguous()
    values[::2, 2:] = torch.nan
    inputs, partners, share = method._mixed(trainer, batch._replace(inputs={**batch.inputs, "m0": values}), "m0")
    for row, partner in enumerate(partners.tolist()):
        for place in range(4):
            own, other = float(values[row, place]), float(values[partner, place])
            both = [value for value in (own, other) if value == value]
            wanted = share * own + (1 - share) * other if len(both) == 2 else both[0] if both else float("nan")
            assert float(inputs["m0"][row, place]) == pytest.approx(wanted, nan_ok=True)


def test_the_evidence_is_of_samples_as_they_are(splits: Splits) -> None:
    batch = first_batch(splits, 16)
    for variant in ("published", "released"):
        trainer = trainer_of(splits, IGM(variant=variant))
        before = trainer.model(batch.inputs)
        trainer._num_rows = 16
        outputs, _ = trainer.method.step(trainer, batch)
        assert list(outputs.logits) == list(before.logits)
        for name, values in outputs.logits.items():
            assert torch.allclose(values, before.logits[name], atol=1e-5), name


def test_what_lacks_a_modality_has_no_say_in_its_directions(splits: Splits) -> None:
    method, found = IGM(), []
    for kept in (slice(None), slice(0, 96, 2)):
        trainer = trainer_of(splits, method, SGD.model_copy(update={"batch_size": 1}))
        whole = split_evidence(trainer.module, splits[Split.TRAIN], 32, trainer.runtime)
        assert whole.features is not None
        features = {name: values.clone() for name, values in whole.features.items()}
        features["m0"][1::2] = 0
        some = replace(whole, features={name: values[kept] for name, values in features.items()},
                       logits={name: values[kept] for name, values in whole.logits.items()},
                       labels=whole.labels[kept])  # fmt: skip
        method.begin_epoch(trainer, 1, partial(replace, some), pytest.fail)
        found.append(trainer.memory)
    for place, t in found[0].items():
        assert torch.allclose(t, found[1][place], atol=1e-4), place


def test_decisions() -> None:
    logits = {name: np.random.default_rng(seed).normal(size=(4, 3)) for seed, name in enumerate("ab")}
    p = {name: np.exp(z) / np.exp(z).sum(axis=1, keepdims=True) for name, z in logits.items()}
    assert np.array_equal(IGM().decide(p, logits), MLA().decide(p, logits))
    assert np.allclose(IGM(variant="released").decide(p, logits), (p["a"] + p["b"]) / 2)


def test_spread_weights_are_refused(splits: Splits, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = trainer_of(splits, IGM())
    monkeypatch.setattr(Runtime, "is_sharded", property(lambda runtime: True))
    with pytest.raises(ValueError, match=r"spread\.strategy: igm asks the heads apart, which needs ddp, not fsdp"):
        trainer.method.begin_epoch(trainer, 0, pytest.fail, pytest.fail)
