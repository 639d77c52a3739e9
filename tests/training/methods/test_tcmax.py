"""Total correlation over all combinations of a batch's features."""

from contextlib import nullcontext
from itertools import product
from math import exp, log
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from bss.encoders.fusions.fusion import FUSIONS
from bss.errors import InputError
from bss.params import Params
from bss.parsing import read_mapping
from bss.training.losses import class_weighted
from bss.training.methods.joint import Joint
from bss.training.methods.tcmax import TCMax
from bss.training.runtime import Runtime
from bss.training.trainer import Trainer
from tests.helpers import ROOT
from tests.helpers.steps import Splits, assert_close, first_batch, gradients, small_trainer
from tests.helpers.toy import SETTINGS, TRAIN


def logits_of(z: Tensor) -> dict[str, Tensor]:
    return {**{f"m{m}": values for m, values in enumerate(z)}, "fused": z.sum(dim=0)}


def slow_loss(rows: list[list[list[float]]], labels: list[int]) -> float:
    """Every combination of samples, one of each modality; `rows` has [modality][sample][class]."""
    size, classes = len(labels), range(len(rows[0][0]))
    own = sum(values[sample][y] for sample, y in enumerate(labels) for values in rows)
    combined = sum(
        exp(sum(values[sample][c] for values, sample in zip(rows, samples, strict=True)))
        for samples in product(range(size), repeat=len(rows))
        for c in classes
    )
    return -own / size + log(combined) - log(size)


@pytest.mark.parametrize(("number", "size"), [(2, 7), (3, 5), (6, 3)])
def test_the_loss_equals_its_slow_reference(number: int, size: int) -> None:
    torch.manual_seed(number)
    z, labels = torch.randn(number, size, 4), torch.arange(size) % 4
    found = float(TCMax(variant="released").loss(logits_of(z), labels))
    assert found == pytest.approx(slow_loss(z.tolist(), labels.tolist()), rel=1e-5)


def test_two_samples_by_hand() -> None:
    z, labels = torch.tensor([[[1.0, 0], [0, 0.5]], [[0.5, 0], [0, 1]]]), torch.tensor([0, 1])
    assert float(TCMax(variant="released").loss(logits_of(z), labels)) == pytest.approx(0.787339, abs=1e-6)
    assert float(TCMax().loss(logits_of(z), labels)) == pytest.approx(-0.598956, abs=1e-6)


def test_the_variants_differ_by_a_constant() -> None:
    torch.manual_seed(0)
    found = []
    for variant in ("published", "released"):
        z = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()
        TCMax(variant=variant).loss(logits_of(z), torch.arange(5) % 3).backward()
        found.append(z.grad)
    assert torch.equal(*found)


def test_a_single_pair_has_the_cross_entropy_of_the_sum() -> None:
    z, labels = torch.randn(2, 1, 3, generator=torch.Generator().manual_seed(0)), torch.tensor([2])
    loss = TCMax(variant="released").loss(logits_of(z), labels)
    assert float(loss) == pytest.approx(float(cross_entropy(z.sum(dim=0), labels)), rel=1e-6)


def test_extreme_logits_have_a_finite_loss_and_gradient() -> None:
    z = (1e4 * torch.randn(3, 4, 3, generator=torch.Generator().manual_seed(0))).requires_grad_()
    loss = TCMax().loss(logits_of(z), torch.zeros(4, dtype=torch.int64))
    loss.backward()
    assert z.grad is not None
    assert loss.isfinite()
    assert z.grad.isfinite().all()


def test_class_weights_weigh_the_cross_entropy() -> None:
    z, labels = torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 2, 1])
    weights = torch.tensor([0.1, 1.0, 1.9])
    plain = TCMax().loss(logits_of(z), labels)
    with class_weighted(weights):
        weighted = TCMax().loss(logits_of(z), labels)
    each = cross_entropy(z.sum(dim=0), labels, reduction="none")
    assert float(weighted - plain) == pytest.approx(float(((weights[labels] - 1) * each).mean()), abs=1e-5)


def test_a_head_may_be_shared(splits: Splits) -> None:
    model = small_trainer(splits, TCMax()).model
    assert len({id(model.branch(name).head) for name in model.branches}) == 1
    own = small_trainer(splits, TCMax(shared_head=False)).model
    assert len({id(own.branch(name).head) for name in own.branches}) == len(own.branches)
    assert model.fusion is None
    assert own.fusion is None


def slow_estimate(drawn: list[list[float]], pairs: list[list[float]], labels: list[int], number: int) -> float:
    """The mean over the drawn combinations times the number of all, as the released loss."""
    size = len(labels)
    mean = sum(exp(value) for row in drawn for value in row) / len(drawn)
    own = sum(row[y] for row, y in zip(pairs, labels, strict=True)) / size
    return -own + log(size**number * mean) - log(size)


@pytest.mark.parametrize("number", [2, 3, 6])
def test_the_estimate_equals_its_slow_reference(number: int) -> None:
    generator = torch.Generator().manual_seed(number)
    drawn, pairs = torch.randn(9, 4, generator=generator), torch.randn(5, 4, generator=generator)
    labels = torch.arange(5) % 4
    logits = {**{f"m{m}": torch.randn(5, 4, generator=generator) for m in range(number)}, "fused": pairs}
    probes = sum(float(cross_entropy(z, labels)) for output, z in logits.items() if output != "fused")
    wanted = slow_estimate(drawn.tolist(), pairs.tolist(), labels.tolist(), number)
    released = float(TCMax(variant="released", combinations=9).estimated_loss(logits, drawn, labels))
    assert released - probes == pytest.approx(wanted, rel=1e-5)
    published = float(TCMax(combinations=9).estimated_loss(logits, drawn, labels))
    assert released - published == pytest.approx((number - 1) * log(5) + log(4), rel=1e-5)


def test_all_combinations_at_once_are_the_product_form() -> None:
    """The code's loss of a sample: the mean over combinations and classes, and log B + log C."""
    z, labels = torch.tensor([[[1.0, 0], [0, 0.5]], [[0.5, 0], [0, 1]]]), torch.tensor([0, 1])
    every = torch.stack([z[0][i] + z[1][j] for i, j in product(range(2), repeat=2)])
    probes = float(sum(cross_entropy(values, labels) for values in z))
    for variant, wanted in (("released", 0.787339), ("published", -0.598956)):
        method = TCMax(variant=variant, combinations=4)
        found = float(method.estimated_loss(logits_of(z), every, labels)) - probes
        assert found == pytest.approx(wanted, abs=1e-6)
    mean = every.exp().mean().log() + log(2) + log(2)
    own = torch.stack([z.sum(dim=0)[i, y] for i, y in enumerate(labels.tolist())]).mean()
    assert float(mean - own) == pytest.approx(0.787339, abs=1e-6)


def test_many_draws_come_near_to_all_combinations(splits: Splits) -> None:
    batch, method = first_batch(splits, 4), TCMax(variant="released", combinations=40000)
    trainer = small_trainer(splits, method)
    trainer._num_rows = 4
    model: Any = trainer.model
    with torch.no_grad():
        outputs = model(batch.inputs)
        features = outputs.features
        names = list(features)
        drawn = trainer.fuse(method._drawn(trainer, features))
        found = float(method._against(
            drawn.flatten().logsumexp(dim=0) + len(names) * log(4) - log(len(drawn)), outputs.logits["fused"],
            batch.labels, len(names),
        ))  # fmt: skip
        nothing = {name: torch.zeros_like(values) for name, values in features.items()}
        bias = model.fusion(nothing) / len(names)
        parts = [model.fusion({**nothing, name: features[name]}) - model.fusion(nothing) + bias for name in names]
        every = float(TCMax(variant="released").loss(logits_of(torch.stack(parts)), batch.labels))
    assert found == pytest.approx(every, abs=0.01)


@pytest.mark.parametrize("fusion", list(FUSIONS))
def test_a_step_by_combinations_is_the_slow_one(splits: Splits, fusion: str) -> None:
    batch, method = first_batch(splits), TCMax(combinations=32)
    trainer = small_trainer(splits, method, FUSIONS.example(fusion))
    model: Any = small_trainer(splits, Joint(), FUSIONS.example(fusion)).model.train()
    features = {
        name: part.encoder((batch.inputs[name].float() - part.mean) / part.std)
        for name, part in model.branches.items()
    }
    trainer.num_steps = 1
    generator = trainer.generator("combinations")
    trainer.num_steps = 0
    drawn = {n: values[torch.randint(16, (32,), generator=generator)] for n, values in features.items()}
    fused, mixed = model.fusion(features), model.fusion(drawn)
    loss = mixed.exp().mean().log() - fused.gather(1, batch.labels[:, None]).mean()
    for name, values in features.items():
        loss = loss + cross_entropy(model.branches[name].head(values.detach()), batch.labels)
    loss.backward()
    expected = {name: weight.grad for name, weight in model.named_parameters()}
    assert all(bool(gradient.any()) for name, gradient in expected.items() if ".encoder." in name)
    assert_close(gradients(trainer, batch), expected)


def test_each_step_draws_other_combinations(splits: Splits) -> None:
    method = TCMax(combinations=8)
    trainer = small_trainer(splits, method)
    rows = {name: torch.arange(16)[:, None] for name in trainer.model.branches}
    seen = []
    for number in range(3):
        trainer.num_steps = number
        seen.append(torch.cat([*method._drawn(trainer, rows).values()], dim=1))
    assert len({str(draw.tolist()) for draw in seen}) == 3
    assert any(len(set(row)) > 1 for row in seen[0].tolist()), "each modality from a sample of its own"


def test_combinations_are_trained_by_one_process_alone(splits: Splits) -> None:
    raw = read_mapping(ROOT / "params.yaml")
    raw["spread"]["devices"], raw["grid"]["methods"] = 2, ["joint", "mixed"]
    for fields in ({}, {"combinations": 8}):
        raw["methods"] = {"mixed": {"name": "tcmax", **fields}}
        message = r"spread\.devices: 'mixed' of grid\.methods, as it is set, is trained by one process alone"
        with pytest.raises(ValueError, match=message) if fields else nullcontext():
            Params(**raw)
    runtime: Any = Runtime.start(SETTINGS)
    runtime.num_ranks = 2
    model = small_trainer(splits, Joint()).model
    with pytest.raises(InputError, match=r"spread\.devices: tcmax, as it is set, is trained by one process alone"):
        Trainer(model, TCMax(combinations=8), TRAIN, runtime)
