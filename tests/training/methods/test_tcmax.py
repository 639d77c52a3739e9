"""Total correlation over all combinations of a batch's features."""

from itertools import product
from math import exp, log

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from bss.training.losses import class_weighted
from bss.training.methods.tcmax import TCMax
from tests.helpers.steps import Splits, small_trainer


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
