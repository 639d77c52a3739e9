"""Encoders, model, methods and the loop."""

from math import exp, log
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from bss.curriculum.sampler import CurriculumSampler
from bss.curriculum.schedulers.heuristic import Heuristic
from bss.curriculum.schedulers.learned import Learned
from bss.curriculum.schedulers.random import Random
from bss.curriculum.schedulers.scheduler import Scheduler
from bss.data.packed import PackedSplit
from bss.encoders.mlp import MLP
from bss.measure.evidence import Evidence
from bss.model import MultimodalModel, build_model
from bss.training import loop
from bss.training.epoch import Observation
from bss.training.loader import batch_indices, batches
from bss.training.loop import fit, split_evidence
from bss.training.methods.joint import Joint
from bss.training.methods.method import METHODS, Method
from bss.training.methods.unimodal import Unimodal
from bss.training.optimizer import build_optimizer, lr_factor
from bss.training.runtime import Runtime
from bss.training.selection import Selection, confidence, loss_and_accuracy
from bss.training.settings import Train
from bss.training.trainer import Trainer
from bss.types import FUSED, Split
from tests.helpers.methods import telling
from tests.helpers.toy import SETTINGS, TRAIN, packed_toy

Splits = dict[Split, PackedSplit]


@pytest.fixture(
    scope="module",
    params=[2, pytest.param(3, marks=pytest.mark.nightly), 6],
    ids=lambda number: f"{number} modalities",
)
def splits(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Splits:
    return packed_toy(tmp_path_factory.mktemp("toy"), request.param)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Splits:
    return packed_toy(tmp_path_factory.mktemp("toy"))


def toy_model(splits: Splits, seed: int = 0) -> MultimodalModel:
    meta = splits[Split.TRAIN].meta
    return build_model(meta, {name: MLP(width=16) for name in meta.modalities}, seed)


def trained(
    splits: Splits,
    method: Method,
    scheduler: Scheduler | None = None,
    settings: Train = TRAIN,
    workers: int = 0,
) -> tuple[MultimodalModel, pl.DataFrame, CurriculumSampler]:
    runtime = Runtime.start(SETTINGS, num_workers=workers)
    model = toy_model(splits)
    scores = np.linspace(-1, 1, len(splits[Split.TRAIN]))
    sampler = CurriculumSampler(len(scores), scheduler or Random(), scores=scores)
    history = fit(
        Trainer(model, method, settings, runtime), sampler, splits[Split.TRAIN], splits[Split.VALIDATION],
        settings, settings.epochs,
    )  # fmt: skip
    return model, history, sampler


def test_an_encoder_that_cannot_take_a_shape_names_the_modality(pair: Splits) -> None:
    meta = pair[Split.TRAIN].meta
    flat = meta.modalities["m1"].model_copy(update={"shape": (7,)})
    with pytest.raises(ValueError, match=r"modality 'm1': small_cnn takes .* got \(7,\)"):
        build_model(meta.model_copy(update={"modalities": {**meta.modalities, "m1": flat}}), {}, 0)


def test_the_model_joins_the_branches(splits: Splits) -> None:
    train, model = splits[Split.TRAIN], toy_model(splits).eval()
    inputs = {name: torch.from_numpy(values) for name, values in train.read(np.arange(6)).items()}
    logits, found = model(inputs)
    assert list(found) == list(train.meta.modalities)
    assert list(logits) == [*train.meta.modalities, "fused"]
    features = []
    for name, meta in train.meta.modalities.items():
        branch = model.branches[name]
        features.append(branch.encoder((inputs[name].double().float() - meta.mean) / meta.std))
        assert torch.allclose(found[name], features[-1], atol=1e-5)
        assert torch.allclose(logits[name], branch.head(features[-1]), atol=1e-5)
    assert model.fusion is not None
    assert torch.allclose(logits["fused"], model.fusion(dict(zip(found, features, strict=True))), atol=1e-5)


def test_initial_weights_depend_on_seed_and_modality_alone(pair: Splits) -> None:
    state = torch.random.get_rng_state()
    first, second, other = toy_model(pair, 0), toy_model(pair, 0), toy_model(pair, 1)
    assert torch.equal(state, torch.random.get_rng_state())
    for name, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[name])
    assert not torch.equal(first.branches["m0"].head.weight, other.branches["m0"].head.weight)
    assert not torch.equal(first.branches["m0"].head.weight, first.branches["m1"].head.weight)


def slow_cross_entropy(logits: torch.Tensor, labels: torch.Tensor) -> float:
    losses = []
    for row, label in zip(logits.tolist(), labels.tolist(), strict=True):
        losses.append(-log(exp(row[label]) / sum(exp(value) for value in row)))
    return sum(losses) / len(losses)


def test_losses_equal_their_slow_references() -> None:
    torch.manual_seed(0)
    logits = {name: torch.randn(7, 3) for name in ("a", "v", "fused")}
    labels = torch.randint(3, (7,))
    slow = {name: slow_cross_entropy(values, labels) for name, values in logits.items()}
    joint = Joint(fused_weight=0.1, unimodal_weight=0.9).loss(logits, labels)
    assert float(joint) == pytest.approx(0.1 * slow["fused"] + 0.9 * (slow["a"] + slow["v"]), rel=1e-5)
    assert float(Unimodal().loss(logits, labels)) == pytest.approx(slow["a"] + slow["v"], rel=1e-5)


def test_confidence_is_the_mean_probability_of_the_true_class() -> None:
    logits, labels = torch.tensor([[0.0, log(3)], [log(4), 0.0]]), torch.tensor([0, 0])
    evidence = Evidence(dict.fromkeys(("a", "b", "fused"), logits), labels)
    assert confidence(evidence, "a") == pytest.approx((1 / 4 + 4 / 5) / 2)


@pytest.mark.parametrize("name", telling(METHODS))
def test_a_method_learns(name: str, pair: Splits) -> None:
    learns(name, pair)


@pytest.mark.parametrize("name", telling(METHODS))
@pytest.mark.parametrize("splits", [pytest.param(3, marks=pytest.mark.nightly), 6], indirect=True)
def test_a_method_learns_of_many_modalities(name: str, splits: Splits) -> None:
    learns(name, splits)


def learns(name: str, splits: Splits) -> None:
    method = METHODS.example(name)
    modalities = list(splits[Split.TRAIN].meta.modalities)
    takes_turns = list(method.trains(modalities, 0)) != modalities
    rests = not method.trains(modalities, 0)  # heads alone, on random features
    epochs = 4 * len(modalities) if takes_turns else TRAIN.epochs + method.least_epochs - 1
    epochs = 4 * TRAIN.epochs if rests else epochs
    model, history, _ = trained(splits, method, settings=TRAIN.model_copy(update={"epochs": epochs}))
    outputs = method.judged(history["output"].unique())
    for output in [FUSED] if name == "mslr" else outputs:  # of its sum alone: a modality learns what that lacks
        rows = history.filter(pl.col("output") == output).sort("epoch")
        losses = rows["train_loss"].drop_nans()  # an epoch may hide a modality of every sample
        # Of phases, those that follow the first may train the modalities for the fusion's sake alone.
        most = 0.95 if rests else 0.5 if output == FUSED or method.least_epochs == 1 else 0.8
        assert losses[-1] < most * losses[0]
        assert rows["validation_accuracy"].max() > (0.5 if rests else 0.8)
    evidence = split_evidence(model, splits[Split.VALIDATION], 16, Runtime.start(SETTINGS))
    for output, part in method.selected(model).items():
        best = history.filter(pl.col("output") == output)["validation_accuracy"].max()
        assert loss_and_accuracy(evidence, output)[1] == pytest.approx(best), part


@pytest.mark.parametrize("name", list(METHODS))
def test_every_weight_is_in_the_optimizer(name: str, pair: Splits) -> None:
    trainer = Trainer(toy_model(pair), METHODS.example(name), TRAIN, Runtime.start(SETTINGS))
    held = {id(weight) for group in trainer.optimizer.param_groups for weight in group["params"]}
    assert held == {id(weight) for weight in trainer.model.parameters() if weight.requires_grad}


def test_a_modality_beside_others_trains_as_it_would_alone(pair: Splits) -> None:
    together, _, _ = trained(pair, Unimodal())
    alone = toy_model(pair)
    runtime = Runtime.start(SETTINGS)
    branch = alone.branches["m0"]
    optimizer = build_optimizer(branch.parameters(), TRAIN)
    sampler = CurriculumSampler(len(pair[Split.TRAIN]), Random())
    selection = Selection(alone, {"m0": branch})
    for epoch in range(TRAIN.epochs):
        for group in optimizer.param_groups:
            group["lr"] = TRAIN.lr * lr_factor("cosine", epoch / TRAIN.epochs)
        alone.train()
        for inputs, labels, *_ in batches(pair[Split.TRAIN], sampler.sequence(), 16, runtime):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(branch(inputs["m0"])[1], labels).backward()
            optimizer.step()
        sampler.end_epoch()
        selection.consider(split_evidence(alone, pair[Split.VALIDATION], 16, runtime))
    selection.restore()
    for name, value in branch.state_dict().items():
        assert torch.equal(value, together.branches["m0"].state_dict()[name]), name


def test_the_same_inputs_give_the_same_bytes(pair: Splits) -> None:
    first, history, _ = trained(pair, Joint(), Learned())
    second, again, _ = trained(pair, Joint(), Learned(), workers=2)
    assert history.equals(again)
    for name, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[name])


def test_the_history_counts_steps_and_samples(pair: Splits) -> None:
    _, history, sampler = trained(pair, Joint())
    fused = history.filter(pl.col("output") == "fused")
    assert fused["epoch"].to_list() == list(range(8))
    assert fused["num_steps"].to_list() == [6 * epoch for epoch in range(1, 9)]
    assert fused["num_samples"].to_list() == [96 * epoch for epoch in range(1, 9)]
    assert sampler.num_draws.tolist() == [8] * 96


def test_learned_training_measures_again(pair: Splits) -> None:
    _, _, sampler = trained(pair, Joint(), Learned(beta=1.0, refresh_every=3))
    assert not np.allclose(sampler.scores, np.linspace(-1, 1, 96))
    _, _, still = trained(pair, Joint(), Learned(refresh_every=50))
    assert np.allclose(still.scores, np.linspace(-1, 1, 96))


def test_online_scores_come_from_the_steps_alone(pair: Splits, monkeypatch: pytest.MonkeyPatch) -> None:
    num_passes: list[int] = []
    clean = loop.split_evidence

    def counted(model: MultimodalModel, split: PackedSplit, *given: Any) -> Evidence:
        num_passes.append(len(split))
        return clean(model, split, *given)

    monkeypatch.setattr(loop, "split_evidence", counted)
    counts = {}
    for update in ("pass", "online", "mixed"):
        num_passes.clear()
        _, _, sampler = trained(pair, Joint(), Learned(beta=1.0, refresh_every=3, score_update=update))
        counts[update] = num_passes.count(96)
        assert not np.allclose(sampler.scores, np.linspace(-1, 1, 96))
    assert counts == {"pass": 2, "online": 0, "mixed": 2}, "8 epochs, measured before the 4th and the 7th"


def test_every_step_hands_over_what_it_saw(pair: Splits) -> None:
    train, runtime = pair[Split.TRAIN], Runtime.start(SETTINGS)
    trainer = Trainer(toy_model(pair), Joint(), TRAIN, runtime)
    seen: list[Observation] = []
    order = np.random.default_rng(0).permutation(96)
    trainer.train_epoch(batches(train, order, 16, runtime), 0.01, seen.append)
    assert torch.cat([observation.indices for observation in seen]).tolist() == order.tolist()
    assert torch.cat([observation.labels for observation in seen]).tolist() == train.labels[order].tolist()
    first = toy_model(pair)(next(iter(batches(train, order, 16, runtime))).inputs)
    for output, logits in seen[0].logits.items():
        assert torch.equal(logits[:16], first.logits[output].detach()), "before the step"
        assert not logits.requires_grad
    assert set(seen[0].features) == {"m0", "m1"}


def test_the_best_epoch_is_chosen_on_validation() -> None:
    layer = torch.nn.Linear(1, 1)
    selection = Selection(layer, {"fused": layer})
    right, wrong = torch.tensor([[2.0, 0.0]] * 4), torch.tensor([[0.0, 2.0]] * 4)
    half = torch.cat([right[:2], wrong[:2]])
    for number, logits in enumerate([half, right, 2 * right, right, half]):
        torch.nn.init.constant_(layer.weight, number)
        selection.consider(Evidence({"a": logits, "b": logits, "fused": logits}, torch.zeros(4, dtype=torch.int64)))
    selection.restore()
    assert layer.weight.item() == 2  # as accurate as epochs 1 and 3, with the lower loss


@pytest.mark.parametrize(
    ("length", "sizes"), [(7, [3, 4]), (6, [3, 3]), (8, [3, 3, 2]), (1, [1]), (2, [2]), (4, [4])]
)
def test_batches_keep_the_order_and_leave_no_single_sample(length: int, sizes: list[int]) -> None:
    indices = np.arange(length)[::-1].copy()
    parts = batch_indices(indices, 3)
    assert [len(part) for part in parts] == sizes
    assert np.array_equal(np.concatenate(parts), indices)


def test_no_samples_make_no_batch() -> None:
    assert batch_indices(np.arange(0), 3) == []


def test_a_loss_that_is_not_finite_stops_the_training(pair: Splits) -> None:
    settings = TRAIN.model_copy(update={"lr": 1e30, "optimizer": "sgd"})
    with pytest.raises(
        ValueError, match=r"the loss is (nan|inf) at step \d+: the .* samples \('train_.*; lower train.lr"
    ):
        trained(pair, Joint(), settings=settings)


class Looking(Joint):
    """Looks at validation and does not say so."""

    def begin_epoch(self, trainer: Any, epoch: int, evidence: Any, validation: Any) -> None:
        validation()


class Declared(Looking):
    looks_at_validation = True


def test_a_method_that_looks_at_validation_has_to_say_so(pair: Splits) -> None:
    with pytest.raises(TypeError, match="Looking looks at validation: it has to say looks_at_validation"):
        trained(pair, Looking())
    trained(pair, Declared())


def test_an_epoch_of_one_sample_is_refused_by_the_scheduler_s_name(pair: Splits) -> None:
    lonely = Heuristic(pacing={"name": "root", "start": 0.0001}, min_in_play=1)
    with pytest.raises(ValueError, match="epoch 0 of the scheduler 'heuristic' has 1 of .*play more"):
        trained(pair, Joint(), lonely)
