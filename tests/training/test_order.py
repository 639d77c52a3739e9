"""What an epoch trains on: hidden modalities, and batches that end where a method says."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from torch.nn.functional import cross_entropy

from bss.curriculum.sampler import CurriculumSampler
from bss.curriculum.schedulers.learned import Learned
from bss.curriculum.schedulers.random import Random
from bss.data.packed import MANIFEST, META, Meta, PackedSplit, open_split
from bss.model import Outputs, build_model
from bss.training.epoch import Observation
from bss.training.loader import Batch, batch_indices, batches, cached
from bss.training.loop import fit
from bss.training.methods.joint import Joint
from bss.training.methods.method import METHODS, Method, Order
from bss.training.runtime import Runtime
from bss.training.trainer import Trainer
from bss.types import PRESENT, Split
from tests.helpers.killed import expect_resumed, outcome
from tests.helpers.toy import SETTINGS, TRAIN, packed_toy
from tests.training.test_loop import toy_model, trained

Splits = dict[Split, PackedSplit]
ORDERING = ("modality_valuation", "data_remixing")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("toy")
    packed_toy(found)
    return found


@pytest.fixture(scope="module")
def splits(folder: Path) -> Splits:
    return {split: open_split(folder, split) for split in Split}


@pytest.fixture(scope="module")
def masked(tmp_path_factory: pytest.TempPathFactory) -> Splits:
    """Every third pair lacks m0, every fourth m1, and none lacks both."""
    folder = tmp_path_factory.mktemp("masked")
    packed_toy(folder)
    (folder / META).write_text(Meta.read(folder).model_copy(update={"masked": True}).model_dump_json())
    for split in Split:
        manifest = pl.read_parquet(folder / split / MANIFEST)
        number = np.arange(len(manifest))
        columns = {"m0": number % 3 > 0, "m1": (number % 4 > 0) | (number % 3 == 0)}
        manifest.with_columns(pl.Series(f"{name}{PRESENT}", there) for name, there in columns.items()).write_parquet(
            folder / split / MANIFEST
        )
    return {split: open_split(folder, split) for split in Split}


def some_order(number: int = 96) -> Order:
    """Half of the places hide m0, a third m1; two cuts."""
    draws = np.random.default_rng(1)
    hidden = {"m0": draws.random(number) < 0.5, "m1": draws.random(number) < 0.3}
    return Order(draws.integers(96, size=number), hidden, (20, 55))


@pytest.mark.parametrize("mode", ["device", "memory", "disk"])
@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("data", ["splits", "masked"])
def test_what_is_hidden_depends_on_the_order_alone(
    data: str, mode: str, num_workers: int, request: pytest.FixtureRequest
) -> None:
    train = request.getfixturevalue(data)[Split.TRAIN]
    runtime, order = Runtime.start(SETTINGS, num_workers=num_workers), some_order()
    found = list(
        batches(
            cached(train, mode, runtime), order.indices, 16, runtime, skip=1, hidden=order.hidden, cuts=order.cuts
        )
    )
    edges = [(16, 20), (20, 36), (36, 52), (52, 55), (55, 71), (71, 87), (87, 96)]
    assert len(found) == len(edges)
    for batch, (first, last) in zip(found, edges, strict=True):
        assert batch.hidden is not None
        rows = order.indices[first:last]
        assert batch.indices.tolist() == rows.tolist()
        assert batch.labels.tolist() == train.labels[rows].tolist()
        assert set(batch.inputs) == {"m0", "m1", f"m0{PRESENT}", f"m1{PRESENT}"}
        for name in ("m0", "m1"):
            away = order.hidden[name][first:last]
            there = train.present[name][rows] if data == "masked" else np.ones(len(rows), dtype=bool)
            assert batch.hidden[name].tolist() == away.tolist(), "what a pair lacks is not hidden by the method"
            assert batch.inputs[f"{name}{PRESENT}"].tolist() == (there & ~away).tolist()
            assert (batch.inputs[name].numpy() == train.arrays[name][rows]).all()


def test_without_an_order_a_batch_is_as_it_was(splits: Splits) -> None:
    first = next(batches(splits[Split.TRAIN], np.arange(96), 16, Runtime.start(SETTINGS)))
    assert first.hidden is None
    assert set(first.inputs) == {"m0", "m1"}


@pytest.mark.parametrize(
    ("length", "cuts", "sizes"),
    [
        (8, [4], [3 + 1, 3 + 1]),
        (8, [5], [3, 2, 3]),
        (9, [0, 5, 5], [3, 2, 4]),
        (9, [1], [1 + 3, 3, 2]),
        (9, [1, 2], [1 + 1 + 3, 4]),
        (6, [5], [3, 2 + 1]),
        (2, [1], [2]),
        (6, [6], [3, 3]),
        (1, [0], [1]),
        (0, [], []),
        (0, [0], []),
    ],
)
def test_batches_end_at_the_cuts_and_leave_no_single_sample(length: int, cuts: list[int], sizes: list[int]) -> None:
    parts = batch_indices(np.arange(length), 3, cuts)
    assert [index for part in parts for index in part] == list(range(length))
    assert [len(part) for part in parts] == sizes


class Fixed(Joint):
    """Trains on `some_order`, in which 11 batches are cut."""

    def on_gradients(self, trainer: Trainer, outputs: Outputs, batch: Batch) -> None:
        assert trainer.progress == trainer.num_batches / 11

    def order(self, sequence: np.ndarray, memory: Mapping[str, torch.Tensor]) -> Order:
        return some_order(150)


def test_a_step_meets_zeros_where_a_modality_is_hidden(splits: Splits) -> None:
    runtime, order = Runtime.start(SETTINGS), some_order()
    batch = next(batches(splits[Split.TRAIN], order.indices, 16, runtime, hidden=order.hidden, cuts=order.cuts))
    partial, whole = (
        toy_model(splits)(batch.inputs),
        toy_model(splits)({name: batch.inputs[name] for name in ("m0", "m1")}),
    )
    for name in ("m0", "m1"):
        assert batch.hidden is not None
        away = batch.hidden[name]
        assert away.any()
        for group in range(2):
            assert not partial[group][name][away].any()
            assert torch.equal(partial[group][name][~away], whole[group][name][~away])


def test_the_history_counts_what_was_seen(splits: Splits) -> None:
    """With a learning rate of 0 the losses are those of the model as it was."""
    settings = TRAIN.model_copy(update={"lr": 0.0, "epochs": 1, "weight_decay": 0.0})
    model, history, sampler = trained(splits, Fixed(), Random(), settings)
    order, train = some_order(150), splits[Split.TRAIN]
    batch = next(batches(train, order.indices, 150, Runtime.start(SETTINGS), hidden=order.hidden))
    logits = {name: values.detach() for name, values in model(batch.inputs).logits.items()}
    for output in ("m0", "m1", "fused"):
        losses = [
            float(cross_entropy(logits[output][row : row + 1], batch.labels[row : row + 1]))
            for row in range(150)
            if output == "fused" or not order.hidden[output][row]
        ]
        row = history.filter(pl.col("output") == output)
        assert row["train_loss"][0] == pytest.approx(sum(losses) / len(losses), abs=1e-5)
        assert row["num_samples"][0] == 150, "copies are counted"
        assert row["num_steps"][0] == len(batch_indices(order.indices, 16, order.cuts)) == 11
    assert sampler.num_draws.sum() == 96, "what the scheduler drew"


def test_a_loss_that_nobody_had_is_not_a_number(splits: Splits) -> None:
    train, runtime = splits[Split.TRAIN], Runtime.start(SETTINGS)
    trainer = Trainer(toy_model(splits), Joint(), TRAIN, runtime)
    hidden = {"m0": np.ones(96, dtype=bool), "m1": np.zeros(96, dtype=bool)}
    losses = trainer.train_epoch(batches(train, np.arange(96), 16, runtime, hidden=hidden), 0.01)
    assert np.isnan(losses["m0"])
    assert np.isfinite([losses["m1"], losses["fused"]]).all()


def test_scores_come_from_samples_that_were_wholly_seen(splits: Splits) -> None:
    train, runtime, order = splits[Split.TRAIN], Runtime.start(SETTINGS), some_order()
    trainer = Trainer(toy_model(splits), Joint(), TRAIN, runtime)
    observations: list[Observation] = []
    todo = list(batches(train, order.indices, 16, runtime, hidden=order.hidden, cuts=order.cuts))
    trainer.train_epoch(todo, 0.0, observations.append)
    whole = ~(order.hidden["m0"] | order.hidden["m1"])
    indices, logits, labels, features = observations[0]
    assert len(observations) == 1
    assert indices.tolist() == order.indices[whole].tolist()
    assert labels.tolist() == train.labels[indices].tolist()
    direct = toy_model(splits)({name: torch.from_numpy(values) for name, values in train.read(indices).items()})
    for output, values in direct.logits.items():
        assert torch.allclose(logits[output], values, atol=1e-5), output
    for name, values in direct.features.items():
        assert torch.allclose(features[name], values, atol=1e-5), name


def test_an_epoch_in_which_nothing_is_wholly_seen_hands_over_nothing(splits: Splits) -> None:
    runtime = Runtime.start(SETTINGS)
    trainer = Trainer(toy_model(splits), Joint(), TRAIN, runtime)
    hidden = {"m0": np.arange(96) % 2 == 0, "m1": np.arange(96) % 2 == 1}
    observations: list[Observation] = []
    todo = batches(splits[Split.TRAIN], np.arange(96), 16, runtime, hidden=hidden)
    trainer.train_epoch(todo, 0.01, observations.append)
    assert not observations


def early(name: str) -> Method:
    """Its order from the second epoch on."""
    method: Method = METHODS.build({"name": name, "starts": 1})
    return method


@pytest.mark.parametrize("name", ORDERING)
def test_killed_after_any_step_it_ends_with_the_same_bytes(name: str, splits: Splits, tmp_path: Path) -> None:
    num_steps = outcome(splits, Learned(score_update="online"), early(name))["num_steps"]
    expect_resumed(splits, early(name), tmp_path, steps=range(5, num_steps + 1, 2))


@pytest.mark.parametrize("name", ORDERING)
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_data_with_gaps_train_too(name: str, precision: str, masked: Splits) -> None:
    train = masked[Split.TRAIN]
    trainer = Trainer(
        build_model(train.meta, {}, 0), early(name), TRAIN,
        Runtime.start(SETTINGS.model_copy(update={"precision": precision})),
    )  # fmt: skip
    steps: list[Batch] = []
    step = trainer._step
    trainer._step = lambda batch: steps.append(batch) or step(batch)  # type: ignore[method-assign, func-returns-value]
    sampler = CurriculumSampler(96, Random(), scores=np.zeros(96))
    history = fit(trainer, sampler, train, masked[Split.VALIDATION], TRAIN, 3)
    assert history["num_steps"][-1] == len(steps)
    for batch in steps:
        there = torch.stack([batch.inputs[f"{name}{PRESENT}"] for name in ("m0", "m1")])
        assert there.any(dim=0).all(), "a sample that shows nothing teaches nothing"
    assert any(batch.hidden for batch in steps)


class Hiding(Joint):
    """Keeps one pair's m1 back."""

    def order(self, sequence: np.ndarray, memory: Mapping[str, torch.Tensor]) -> Order:
        return Order(sequence, {"m1": sequence == 3})


def test_what_is_not_finite_is_found_beside_masks(splits: Splits) -> None:
    settings = TRAIN.model_copy(update={"lr": 1e30, "optimizer": "sgd"})
    with pytest.raises(ValueError, match=r"the loss is (nan|inf) at step \d+: the .* samples \('train_"):
        trained(splits, Hiding(), settings=settings)
