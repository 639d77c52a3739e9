"""Multimodal learning with alternating unimodal adaptation."""

from math import exp, log

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from bss.data.packed import PackedSplit
from bss.encoders.mlp import MLP
from bss.model import MultimodalModel, build_model
from bss.training.loader import batches
from bss.training.methods.method import Method
from bss.training.methods.mla import MLA
from bss.training.methods.unimodal import Unimodal
from bss.training.runtime import Runtime
from bss.training.settings import Optimisation
from bss.training.trainer import Trainer
from bss.types import Split
from tests.helpers.toy import SETTINGS, TRAIN, packed_toy

SGD = Optimisation(batch_size=16, optimizer="sgd", lr=0.05, weight_decay=0, momentum=0)


@pytest.fixture(scope="module", params=[2, 3], ids=lambda number: f"{number} modalities")
def train(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> PackedSplit:
    return packed_toy(tmp_path_factory.mktemp("toy"), request.param)[Split.TRAIN]


def model_of(train: PackedSplit, *widths: int) -> MultimodalModel:
    names = list(train.meta.modalities)
    given = widths or (8,) * len(names)
    return build_model(train.meta, {name: MLP(width=width) for name, width in zip(names, given, strict=True)}, 0)


def trained(train: PackedSplit, method: Method, settings: Optimisation = TRAIN, epochs: int = 1) -> Trainer:
    runtime = Runtime.start(SETTINGS)
    trainer = Trainer(model_of(train), method, settings, runtime)
    for _ in range(epochs):
        trainer.train_epoch(batches(train, np.arange(96), 16, runtime), 0.05, length=6)
    return trainer


def matvec(matrix: list[list[float]], vector: list[float]) -> list[float]:
    return [sum(a * b for a, b in zip(row, vector, strict=True)) for row in matrix]


def slow_epoch(train: PackedSplit, method: MLA, widths: tuple[int, ...] = ()) -> MultimodalModel:
    """Plain gradient descent written from the equations, with the projection in plain floats."""
    prepared = Trainer(model_of(train, *widths), method, SGD, Runtime.start(SETTINGS)).model
    wide = prepared.branch("m0").head.in_features
    p = [[float(i == j) for j in range(wide)] for i in range(wide)]
    for number in range(6):
        rows = np.arange(96)[16 * number : 16 * (number + 1)]
        labels = torch.from_numpy(train.labels[rows])
        for name, branch in prepared.branches.items():
            features, logits = branch(torch.from_numpy(train.read(rows)[name]))
            weights = list(branch.parameters())
            gradients = torch.autograd.grad(cross_entropy(logits, labels), weights)
            if method.variant == "published" and (number, name) != (0, "m0"):  # not in the very first turn
                r = [float(sum(column) / 16) for column in features.detach().double().T]
                k = matvec(p, r)
                below = 0.1 ** (1 + number / 6) + sum(a * b for a, b in zip(r, k, strict=True))
                p = [[p[i][j] - k[i] * k[j] / below for j in range(wide)] for i in range(wide)]
                norm = sum(value**2 for row in p for value in row) ** 0.5
                p = [[value / norm for value in row] for row in p]
            with torch.no_grad():
                for weight, gradient in zip(weights, gradients, strict=True):
                    turned = gradient
                    if weight is branch.head.weight and method.variant == "published" and (number, name) != (0, "m0"):
                        turned = torch.tensor([matvec(p, row) for row in gradient.tolist()])
                    weight.sub_(0.05 * turned)
    return prepared


@pytest.mark.parametrize("variant", ["published", "released"])
def test_an_epoch_equals_its_slow_reference(variant: str, train: PackedSplit) -> None:
    method = MLA(variant=variant)
    fast, slow = trained(train, method, SGD).model, slow_epoch(train, method)
    for name, values in fast.state_dict().items():
        assert torch.allclose(values, slow.state_dict()[name], atol=1e-5), name


def test_encoders_of_other_widths_are_brought_to_the_widest(train: PackedSplit) -> None:
    widths = (6, 9, 7)[: len(train.meta.modalities)]
    runtime = Runtime.start(SETTINGS)
    trainer = Trainer(model_of(train, *widths), MLA(), SGD, runtime)
    trainer.train_epoch(batches(train, np.arange(96), 16, runtime), 0.05, length=6)
    slow = slow_epoch(train, MLA(), widths).state_dict()
    for name, values in trainer.model.state_dict().items():
        assert torch.allclose(values, slow[name], atol=1e-5), name
    assert trainer.memory["projection"].shape == (9, 9)
    *_, last = trainer.model.branch("m0").encoder.children()
    assert last.weight.shape == (9, 6)
    assert last.bias is None
    plain = model_of(train, *widths)
    assert str(trainer.model.branch("m1").encoder) == str(plain.branch("m1").encoder), "the widest is left as it is"


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_with_heads_of_their_own_it_is_unimodal(optimizer: str, train: PackedSplit) -> None:
    settings = TRAIN.model_copy(update={"optimizer": optimizer})
    alone = trained(train, Unimodal(), settings, 2).model.state_dict()
    turns = trained(train, MLA(variant="released", shared_head=False), settings, 2).model.state_dict()
    assert set(alone) - set(turns) == {"fusion.weight", "fusion.bias"}
    for name, values in turns.items():
        assert torch.equal(values, alone[name]), name


def test_the_projection_changes_the_head_and_is_remembered(train: PackedSplit) -> None:
    published, released = (trained(train, MLA(variant=variant)) for variant in ("published", "released"))
    weights = [trainer.model.branch("m0").head.weight for trainer in (published, released)]
    assert not torch.allclose(*weights)
    assert not released.memory
    assert float(published.memory["projection"].norm()) == pytest.approx(1)


def test_a_step_gives_the_logits_of_each_modality_in_its_turn(train: PackedSplit) -> None:
    runtime = Runtime.start(SETTINGS)
    trainer = Trainer(model_of(train), MLA(), SGD, runtime)
    batch = next(iter(batches(train, np.arange(96), 16, runtime)))
    trainer._num_rows = 16
    first = trainer.model(batch.inputs)
    outputs, loss = trainer.method.step(trainer, batch)
    names = list(trainer.model.branches)
    assert list(outputs.logits) == [*names, "fused"]
    assert list(outputs.features) == names
    assert torch.equal(outputs.logits["m0"], first.logits["m0"])
    assert not torch.equal(outputs.logits["m1"], first.logits["m1"]), "m0's turn has changed the head"
    assert torch.allclose(outputs.logits["fused"], sum(outputs.logits[name] for name in names))
    assert float(loss) == pytest.approx(sum(float(cross_entropy(outputs.logits[n], batch.labels)) for n in names))


def softmax(values: list[float]) -> list[float]:
    return [exp(value) / sum(map(exp, values)) for value in values]


@pytest.mark.parametrize("number", [2, 3])
def test_decisions_equal_their_slow_references(number: int) -> None:
    logits = np.random.default_rng(number).normal(0, 2, (number, 5, 3))
    probabilities = {f"m{m}": np.array([softmax(row) for row in values]) for m, values in enumerate(logits.tolist())}
    by_name = dict(zip(probabilities, logits, strict=True))
    decided = {variant: MLA(variant=variant).decide(probabilities, by_name) for variant in ("published", "released")}
    whole = []
    for values in np.exp(logits):
        over = [[values[i, c] / sum(values[:, c]) for c in range(3)] for i in range(5)]
        whole.append(-sum(q * log(q) for row in over for q in row))
    for row in range(5):
        own = [-sum(p * log(p) for p in values[row]) for values in probabilities.values()]
        for variant, entropies in (("published", own), ("released", whole)):
            gates = [exp(max(entropies) - entropy) for entropy in entropies]
            source = (
                logits[:, row]
                if variant == "published"
                else np.log([values[row] for values in probabilities.values()])
            )
            mixed = [sum(g / sum(gates) * z[c] for g, z in zip(gates, source, strict=True)) for c in range(3)]
            assert decided[variant][row] == pytest.approx(softmax(mixed))
    assert not np.allclose(decided["published"], decided["released"])


def test_decisions_of_a_sample_depend_on_the_others_only_as_released() -> None:
    given = {name: np.random.default_rng(seed).dirichlet(np.ones(3), 6) for seed, name in enumerate(("a", "b"))}
    logits = {name: np.log(values) for name, values in given.items()}
    part, of_part = ({name: values[:2] for name, values in group.items()} for group in (given, logits))
    assert np.allclose(MLA().decide(given, logits)[:2], MLA().decide(part, of_part))
    released = MLA(variant="released")
    assert not np.allclose(released.decide(given, logits)[:2], released.decide(part, of_part))
    certain = {"a": np.array([[1.0, 0.0]]), "b": np.array([[0.5, 0.5]])}
    assert np.isfinite(MLA().decide(certain, {"a": np.array([[900.0, 0.0]]), "b": np.zeros((1, 2))})).all()


def test_nothing_to_project_is_refused() -> None:
    with pytest.raises(ValueError, match="shared_head: false needs variant: released"):
        MLA(shared_head=False)
