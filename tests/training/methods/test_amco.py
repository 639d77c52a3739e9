"""Adaptive mask co-optimization, as BalanceBenchmark has it."""

from math import exp
from typing import Any

import pytest
import torch

from bss.model import MultimodalModel
from bss.training.methods.amco import AMCo, mask, shares
from bss.training.methods.joint import Joint
from bss.types import FUSED
from tests.helpers.steps import Splits, assert_close, assert_same, first_batch, gradients, small_trainer

A, V = torch.tensor([[2.0, 0.5, -1], [0.2, 1.5, 0.3]]), torch.tensor([[0.1, 0.4, 0.2], [1.0, -0.5, 0.6]])


class LinearOnSum(Joint):
    """`joint` on the network of `amco`, with the same initial weights."""

    @property
    def name(self) -> str:
        return "amco"

    def prepare(self, model: MultimodalModel) -> None:
        AMCo().prepare(model)


def slow_shares(rows: list[list[list[float]]]) -> list[float]:
    """Sample by sample; `rows` has [modality][sample][class], zeros where the sample lacks the modality."""
    found = [0.0] * len(rows)
    for sample in range(len(rows[0])):
        powers = [sum(map(exp, values[sample])) if any(values[sample]) else 0.0 for values in rows]
        for m, power in enumerate(powers):
            found[m] += power / sum(powers) / len(rows[0])
    return found


@pytest.mark.parametrize("number", [2, 3, 6])
def test_shares_equal_their_slow_reference(number: int) -> None:
    z = torch.randn(number, 8, 4, generator=torch.Generator().manual_seed(number))
    z[0, :3] = 0
    assert shares(z).tolist() == pytest.approx(slow_shares(z.tolist()))


def test_shares_by_hand() -> None:
    assert shares(torch.stack([A, V])).tolist() == pytest.approx([0.644685, 0.355315], abs=1e-6)
    assert shares(torch.zeros(2, 3, 4)).tolist() == pytest.approx([0.5, 0.5]), "no modality at all"


def test_numbers_of_masked_classes_by_hand() -> None:
    found = [AMCo().num_masked(1, batches, 6) for batches in (0, 1, 2, 3, 10)]
    assert found == [0, 3, 5, 6, 6]
    assert [AMCo().num_masked(0, batches, 6) for batches in (0, 5, 99)] == [0, 0, 0]
    assert [AMCo().num_masked(epoch, 1, 6) for epoch in (1, 2, 3)] == [3, 5, 6]


def test_as_many_classes_of_each_sample_are_zero_as_asked_for() -> None:
    logits, draws = torch.ones(5, 6), torch.rand(5, 6, generator=torch.Generator().manual_seed(0))
    masked = mask(logits, 2, draws)
    assert (masked == 0).sum(dim=1).tolist() == [2] * 5
    assert len({tuple(row.tolist()) for row in masked}) > 1, "each sample has its own"


def test_a_step_masks_the_dependent_modality(splits: Splits) -> None:
    """The whole of it is masked from the fourth batch of epoch 1 on, and so has no gradient."""
    batch = first_batch(splits)
    trainer = small_trainer(splits, AMCo(fused_weight=0.7, unimodal_weight=0.3))
    trainer.epoch, trainer._epoch.num_batches = 1, 3
    model: Any = small_trainer(splits, LinearOnSum()).model.train()
    logits = model(batch.inputs).logits
    names = list(model.branches)
    found = slow_shares([logits[name].tolist() for name in names])
    dependent = names[found.index(max(found))]
    z = {name: logits[name] * (name != dependent) for name in names}
    loss = 0.7 * torch.nn.functional.cross_entropy(model.mixture(sum(z.values())), batch.labels)
    for name in names:
        loss = loss + 0.3 * torch.nn.functional.cross_entropy(z[name], batch.labels)
    model.zero_grad()
    loss.backward()
    handed = gradients(trainer, batch)
    assert_close(handed, {name: values.grad for name, values in model.named_parameters()})
    assert not handed[f"branches.{dependent}.head.weight"].any()
    assert trainer.memory["shares"].tolist() == pytest.approx(found, rel=1e-5)


def test_the_dependent_modality_is_that_of_the_epoch_so_far(splits: Splits) -> None:
    batch = first_batch(splits)
    trainer = small_trainer(splits, AMCo())
    trainer.epoch, trainer._epoch.num_batches = 1, 3
    names = list(trainer.model.branches)
    for dependent in range(2):
        trainer.memory["shares"] = torch.eye(len(names)).double()[dependent] * 1000
        handed = gradients(trainer, batch)
        zero = [name for name in names if not handed[f"branches.{name}.head.weight"].any()]
        assert zero == [names[dependent]]
    trainer.method.begin_epoch(trainer, 2, pytest.fail, pytest.fail)
    assert not trainer.memory


def test_without_growth_or_a_dependent_modality_it_is_joint_on_that_network(splits: Splits) -> None:
    batch, found = first_batch(splits), []
    for method in (LinearOnSum(), AMCo(growth=0), AMCo(margin=0.9), AMCo()):
        trainer = small_trainer(splits, method)
        trainer.epoch, trainer._epoch.num_batches = 1, 1
        found.append(gradients(trainer, batch))
    joint, none, nobody, default = found
    assert_same(none, joint)
    assert_same(nobody, joint)
    assert any(not torch.equal(default[name], values) for name, values in joint.items())


def test_evaluation_has_no_masks(splits: Splits) -> None:
    trainer, batch = small_trainer(splits, AMCo()), first_batch(splits)
    trainer.epoch = 5
    model: Any = trainer.model.eval()
    logits = model(batch.inputs).logits
    summed = sum(logits[name] for name in model.branches)
    assert torch.allclose(logits[FUSED], model.mixture(summed))
