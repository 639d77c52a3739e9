"""Encoders, model, methods and the loop."""

from functools import cache
from itertools import pairwise
from math import cos, exp, log, pi
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from bss.curriculum.sampler import CurriculumSampler
from bss.curriculum.schedulers.learned import Learned
from bss.curriculum.schedulers.random import Random
from bss.curriculum.schedulers.scheduler import Scheduler
from bss.data.packed import Meta, ModalityMeta, PackedSplit
from bss.encoders.encoder import ENCODERS, Encoder
from bss.encoders.mlp import MLP
from bss.encoders.model import MultimodalModel, build_model
from bss.measure.evidence import Evidence
from bss.params import Optimisation, Train
from bss.params import Runtime as RuntimeSettings
from bss.training import loop
from bss.training.loader import batch_indices, batches
from bss.training.loop import fit, split_evidence
from bss.training.methods.joint import Joint
from bss.training.methods.method import METHODS, Method
from bss.training.methods.unimodal import Unimodal
from bss.training.optimizer import build_optimizer, lr_factor
from bss.training.runtime import Runtime
from bss.training.selection import Selection, loss_and_accuracy
from bss.training.trainer import Trainer
from bss.types import Split
from tests.encoders import NUM_EXAMPLES, examples
from tests.toy import packed_toy

SETTINGS = RuntimeSettings(
    device="cpu",
    precision="float32",
    compile=False,
    channels_last=False,
    deterministic=True,
    threads=1,
    num_workers=0,
)
TRAIN = Train(
    epochs=8,
    batch_size=16,
    optimizer="adamw",
    lr=0.01,
    weight_decay=1e-4,
    momentum=0.9,
    lr_schedule="cosine",
    keep="best",
    cache="auto",
    checkpoint_minutes=10,
    devices=1,
    nodes=1,
    strategy="ddp",
)
Splits = dict[Split, PackedSplit]


@pytest.fixture(scope="module", params=[2, 3, 6], ids=lambda number: f"{number} modalities")
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
    runtime = Runtime(SETTINGS.model_copy(update={"num_workers": workers}))
    model = toy_model(splits)
    scores = np.linspace(-1, 1, len(splits[Split.TRAIN]))
    sampler = CurriculumSampler(len(scores), scheduler or Random(), scores=scores)
    history = fit(
        Trainer(model, method, settings, runtime), sampler, splits[Split.TRAIN], splits[Split.VALIDATION],
        settings, settings.epochs,
    )  # fmt: skip
    return model, history, sampler


MODALITIES = {
    "spectrogram": ModalityMeta(kind="audio", shape=(1, 65, 41), mean=0, std=1, encoder="small_cnn"),
    "image": ModalityMeta(kind="image", shape=(3, 8, 8), mean=0, std=1, encoder="small_cnn"),
    "tiny image": ModalityMeta(kind="image", shape=(1, 4, 4), mean=0, std=1, encoder="small_cnn"),
    "numbers": ModalityMeta(kind="features", shape=(6,), mean=0, std=1, encoder="mlp"),
    "words": ModalityMeta(kind="text", shape=(9,), mean=0, std=1, encoder="text_embedding", tokens=tuple("abcdefgh")),
    "video": ModalityMeta(kind="video", shape=(3, 4, 16, 16), mean=0, std=1, encoder="resnet18"),
    "flow": ModalityMeta(kind="flow", shape=(2, 8, 8), mean=0, std=1, encoder="small_cnn"),
    "sequence": ModalityMeta(kind="sequence", shape=(7, 5), mean=0, std=1, encoder="gru"),
}
"""What an encoder may be asked to take, whichever encoder it is."""


@cache
def accepted(encoder: Encoder) -> dict[str, ModalityMeta]:
    """Those of the modalities that an encoder does not refuse."""
    found = {}
    for name, modality in MODALITIES.items():
        try:
            encoder.build(modality)
        except ValueError:
            continue
        found[name] = modality
    return found


def made_up(modality: ModalityMeta, num_samples: int) -> np.ndarray:
    """Samples of a modality, (num_samples, *shape); no two alike."""
    generator = np.random.default_rng(0)
    if modality.tokens is not None:
        return generator.integers(len(modality.tokens), size=(num_samples, *modality.shape), dtype=np.int32)
    values = generator.normal(size=(num_samples, *modality.shape)).astype(np.float32)
    if modality.kind == "sequence":
        for row in range(num_samples):
            values[row, 1 + row % modality.shape[0] :] = np.nan
    return values


EXAMPLES = [
    pytest.param(name, number, id=f"{name}-{number}")
    for name in ENCODERS
    for number in range(NUM_EXAMPLES.get(name, 1))
]
of_every_encoder = pytest.mark.parametrize(("name", "number"), EXAMPLES)


def networks(name: str, number: int, seed: int = 0) -> list[tuple[Any, torch.Tensor]]:
    """An encoder's network for each modality that it takes, with samples of it."""
    encoder = examples(name)[number]
    found: list[tuple[Any, torch.Tensor]] = []
    for modality in accepted(encoder).values():
        torch.manual_seed(seed)
        found.append((encoder.build(modality), torch.from_numpy(made_up(modality, 5)).float()))
    assert found, "it takes none of the modalities that there are"
    return found


@pytest.mark.parametrize("name", list(ENCODERS))
def test_every_example_of_an_encoder_is_tested(name: str) -> None:
    assert len(examples(name)) == NUM_EXAMPLES.get(name, 1)


@of_every_encoder
def test_an_encoder_maps_a_batch_to_its_width(name: str, number: int) -> None:
    for network, values in networks(name, number):
        network.eval()
        features = network(values)
        assert features.shape == (5, network.dim)
        assert features.dtype == torch.float32
        assert features.isfinite().all()
        assert torch.equal(network(values), features), "eval mode repeats"
        assert torch.allclose(network(values[2:3]), features[2:3], atol=1e-5, rtol=1e-4)
        assert not torch.allclose(features[0], features[1]), "samples are told apart"


@of_every_encoder
def test_a_gradient_reaches_every_weight_that_is_trained(name: str, number: int) -> None:
    encoder = examples(name)[number]
    for network, values in networks(name, number):
        assert network.training
        features = network(values)
        if getattr(encoder, "freeze", False):
            assert not any(weight.requires_grad for weight in network.parameters())
            continue
        (features * torch.randn_like(features)).sum().backward()
        untouched = [
            part for part, weight in network.named_parameters() if weight.requires_grad and weight.grad is None
        ]
        assert not untouched
        reached = [weight.grad.abs().sum() > 0 for weight in network.parameters() if weight.grad is not None]
        assert sum(reached) >= len(reached) / 2 > 0, "at first an adapter's second factor is zero, so the first waits"


@of_every_encoder
def test_the_same_seed_gives_an_encoder_the_same_weights(name: str, number: int) -> None:
    pairs = zip(networks(name, number), networks(name, number), networks(name, number, seed=1), strict=True)
    for (first, _), (second, _), (other, _) in pairs:
        for part, values in first.state_dict().items():
            assert torch.equal(values, second.state_dict()[part]), part
        alike = [torch.equal(values, other.state_dict()[part]) for part, values in first.state_dict().items()]
        own = name == "huggingface" and getattr(examples(name)[number], "lora_rank", None) is None
        assert all(alike) == own, "what was read from a file has no seed"


@of_every_encoder
def test_an_encoder_is_the_same_after_its_state_was_put_back(name: str, number: int) -> None:
    for (first, values), (other, _) in zip(networks(name, number), networks(name, number, seed=1), strict=True):
        other.load_state_dict(first.state_dict())
        assert torch.equal(first.eval()(values), other.eval()(values))


@of_every_encoder
def test_an_encoder_says_what_it_takes_instead(name: str, number: int) -> None:
    encoder = examples(name)[number]
    refused = [modality for modality in MODALITIES.values() if modality not in accepted(encoder).values()]
    assert refused
    for modality in refused:
        with pytest.raises(ValueError, match=f"{name} takes .*, got ") as error:
            encoder.build(modality)
        assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize("modality", MODALITIES)
def test_the_encoder_of_a_kind_takes_it(modality: str) -> None:
    assert modality in accepted(ENCODERS.build(MODALITIES[modality].encoder))


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


@pytest.mark.parametrize("name", list(METHODS))
def test_a_method_learns(name: str, splits: Splits) -> None:
    method = METHODS.build(name)
    model, history, _ = trained(splits, method)
    for output in method.judged(history["output"].unique()):
        rows = history.filter(pl.col("output") == output).sort("epoch")
        assert rows["train_loss"][-1] < 0.5 * rows["train_loss"][0]
        assert rows["validation_accuracy"].max() > 0.8
    evidence = split_evidence(model, splits[Split.VALIDATION], 16, Runtime(SETTINGS))
    for output, part in method.selected(model).items():
        best = history.filter(pl.col("output") == output)["validation_accuracy"].max()
        assert loss_and_accuracy(evidence, output)[1] == pytest.approx(best), part


@pytest.mark.parametrize("name", list(METHODS))
def test_every_weight_is_in_the_optimizer(name: str, pair: Splits) -> None:
    trainer = Trainer(toy_model(pair), METHODS.build(name), TRAIN, Runtime(SETTINGS))
    held = {id(weight) for group in trainer.optimizer.param_groups for weight in group["params"]}
    assert held == {id(weight) for weight in trainer.model.parameters() if weight.requires_grad}


def test_a_modality_beside_others_trains_as_it_would_alone(pair: Splits) -> None:
    together, _, _ = trained(pair, Unimodal())
    alone = toy_model(pair)
    runtime = Runtime(SETTINGS)
    branch = alone.branches["m0"]
    optimizer = build_optimizer(branch.parameters(), TRAIN)
    sampler = CurriculumSampler(len(pair[Split.TRAIN]), Random())
    selection = Selection(alone, {"m0": branch})
    for epoch in range(TRAIN.epochs):
        for group in optimizer.param_groups:
            group["lr"] = TRAIN.lr * lr_factor("cosine", epoch / TRAIN.epochs)
        alone.train()
        for inputs, labels, _ in batches(pair[Split.TRAIN], sampler.sequence(), 16, runtime):
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
    train, runtime = pair[Split.TRAIN], Runtime(SETTINGS)
    trainer = Trainer(toy_model(pair), Joint(), TRAIN, runtime)
    seen: list[tuple[Any, ...]] = []
    order = np.random.default_rng(0).permutation(96)
    trainer.train_epoch(batches(train, order, 16, runtime), 0.01, lambda *given: seen.append(given))
    assert torch.cat([indices for indices, *_ in seen]).tolist() == order.tolist()
    assert torch.cat([labels for _, _, labels, _ in seen]).tolist() == train.labels[order].tolist()
    first = toy_model(pair)(next(iter(batches(train, order, 16, runtime))).inputs)
    for output, logits in seen[0][1].items():
        assert torch.equal(logits[:16], first.logits[output].detach()), "before the step"
        assert not logits.requires_grad
    assert set(seen[0][3]) == {"m0", "m1"}


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


def test_a_loss_that_is_not_finite_stops_the_training(pair: Splits) -> None:
    settings = TRAIN.model_copy(update={"lr": 1e30, "optimizer": "sgd"})
    with pytest.raises(
        ValueError, match=r"the loss is (nan|inf) at step \d+: the .* samples \('train_.*; lower train.lr"
    ):
        trained(pair, Joint(), settings=settings)


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_the_optimizer_is_the_named_one(optimizer: str) -> None:
    settings = Optimisation(batch_size=2, optimizer=optimizer, lr=0.5, weight_decay=0.25, momentum=0.75)
    built = build_optimizer([torch.nn.Parameter(torch.ones(1))], settings)
    assert type(built).__name__.lower() == optimizer
    assert built.defaults["lr"] == 0.5
    assert built.defaults["weight_decay"] == 0.25
    assert built.defaults.get("momentum", 0.75) == 0.75


def test_schedules_of_the_learning_rate() -> None:
    assert lr_factor("constant", 0.9) == 1
    assert lr_factor("cosine", 0.25) == pytest.approx(0.5 * (1 + cos(pi / 4)))
    assert [lr_factor("step", progress) for progress in (0, 0.3, 0.4, 0.7)] == pytest.approx([1, 1, 0.1, 0.01])
    for schedule in ("constant", "cosine", "step"):
        values = [lr_factor(schedule, step / 50) for step in range(50)]
        assert values[0] == 1
        assert all(low <= high for high, low in pairwise(values))


def test_bfloat16_trains_too(pair: Splits) -> None:
    runtime = Runtime(SETTINGS.model_copy(update={"precision": "bfloat16"}))
    trainer = Trainer(toy_model(pair), Joint(), TRAIN, runtime)
    losses = [
        trainer.train_epoch(batches(pair[Split.TRAIN], np.arange(96), 16, runtime), 0.01)["fused"] for _ in range(6)
    ]
    assert losses[-1] < 0.5 * losses[0]
    assert all(value.dtype == torch.float32 for value in trainer.model.parameters())


@pytest.mark.skipif(torch.cuda.is_available(), reason="the error is that of a machine without CUDA")
def test_cuda_is_refused_where_there_is_none() -> None:
    with pytest.raises(ValueError, match=r"runtime\.device: 'cuda', but torch finds no CUDA device"):
        Runtime(SETTINGS.model_copy(update={"device": "cuda"}))
    assert Runtime(SETTINGS.model_copy(update={"device": "auto"})).device.type == "cpu"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
@pytest.mark.parametrize("encoder", list(ENCODERS))
def test_training_on_cuda_repeats(encoder: str) -> None:
    runtime = Runtime(SETTINGS.model_copy(update={"device": "cuda"}))
    component = examples(encoder)[0]
    modalities = accepted(component)
    train = PackedSplit(
        Path(),
        Split.TRAIN,
        Meta(dataset="made up", classes=tuple("abc"), modalities=modalities, num_pairs={Split.TRAIN: 96}),
        np.arange(96) % 3,
        tuple(map(str, range(96))),
        {name: made_up(modality, 96) for name, modality in modalities.items()},
        {},
    )
    results = []
    for _ in range(2):
        model = build_model(train.meta, dict.fromkeys(modalities, component), 0)
        trainer = Trainer(model, Joint(), TRAIN, runtime)
        losses = trainer.train_epoch(batches(train, np.arange(96), 16, runtime), 0.01)
        results.append((losses, trainer.model.fusion.weight.cpu()))
    assert results[0][0] == results[1][0]
    assert torch.equal(results[0][1], results[1][1])
