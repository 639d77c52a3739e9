"""Self-distillation between modalities."""

from itertools import combinations
from math import exp, log
from typing import Literal

import pytest
import torch
from torch import Tensor

from bss.model import MultimodalModel
from bss.training.methods.joint import Joint
from bss.training.methods.mbsd import MBSD
from tests.helpers.steps import Splits, assert_same, first_batch, gradients, small_trainer

Variant = Literal["published", "released"]
A, V = torch.tensor([[2.0, 0.5, -1], [0.2, 1.5, 0.3]]), torch.tensor([[0.1, 0.4, 0.2], [1.0, -0.5, 0.6]])


class SumOfHeads(Joint):
    """`joint` with the sum of the logits as its fusion."""

    def prepare(self, model: MultimodalModel) -> None:
        model.fusion = None


def logits_of(*z: Tensor) -> dict[str, Tensor]:
    return {**{f"m{m}": values for m, values in enumerate(z)}, "fused": torch.stack(z).sum(dim=0)}


def slow_distillation(rows: list[list[list[float]]], labels: list[int], variant: Variant) -> float:
    """Pair by pair, sample by sample, class by class; `rows` has [modality][sample][class]."""
    total, pairs, classes = 0.0, list(combinations(rows, 2)), range(len(rows[0][0]))
    for pair in pairs:
        for sample, y in enumerate(labels):
            z = [values[sample] for values in pair]
            p = [[exp(value) / sum(map(exp, values)) for value in values] for values in z]
            if not (any(z[0]) and any(z[1])) or y not in {values.index(max(values)) for values in z}:
                continue
            t, s = sorted(p, key=lambda each: -each[y])
            if variant == "published":
                taught = sum(t[c] * log(t[c] / s[c]) + (t[c] - s[c]) ** 2 / len(classes) for c in classes)
            else:
                one, other = z if len(rows) == 2 else p
                taught = s[y] * (log(s[y]) - t[y]) + sum((one[c] - other[c]) ** 2 for c in classes) / len(classes)
            total += (t[y] - s[y]) * taught
    return total / len(labels) / len(pairs)


@pytest.mark.parametrize("variant", ["published", "released"])
@pytest.mark.parametrize("number", [2, 3, 6])
def test_the_distillation_equals_its_slow_reference(variant: Variant, number: int) -> None:
    torch.manual_seed(number)
    z, labels = 2 * torch.randn(number, 40, 4), torch.arange(40) % 4
    z[0, :5] = 0  # these samples lack the first modality
    z[1, 5:10] = z[0, 5:10]  # a tie
    found = MBSD(variant=variant).distillation(logits_of(*z), labels)
    assert float(found) == pytest.approx(slow_distillation(z.tolist(), labels.tolist(), variant), rel=1e-5)


def test_two_samples_by_hand() -> None:
    labels = torch.tensor([0, 1])
    found = float(MBSD().distillation(logits_of(A, V), labels))
    assert found == pytest.approx(0.336010 + 0.066974, abs=2e-6)
    released = float(MBSD(variant="released").distillation(logits_of(A, V), labels))
    assert released == pytest.approx(0.826466 - 0.230027, abs=2e-6)


@pytest.mark.parametrize(("variant", "learns"), [("published", False), ("released", True)])
def test_the_teacher_learns_nothing_but_in_the_released_form(variant: Variant, learns: bool) -> None:
    teacher, student = A.clone().requires_grad_(), V.clone().requires_grad_()
    MBSD(variant=variant).distillation(logits_of(teacher, student), torch.tensor([0, 1])).backward()
    assert teacher.grad is not None
    assert student.grad is not None
    assert bool(teacher.grad.any()) == learns
    assert bool(student.grad.any())


def test_a_step_of_a_student_takes_it_towards_its_teacher() -> None:
    student, labels = V.clone().requires_grad_(), torch.tensor([0, 1])
    before = MBSD().distillation(logits_of(A, student), labels)
    before.backward()
    assert student.grad is not None
    moved = (student - 0.1 * student.grad).detach()
    distances = [float((A.softmax(1) - values.softmax(1)).abs().sum()) for values in (moved, student.detach())]
    assert distances[0] < distances[1]


def test_where_both_are_wrong_nobody_teaches() -> None:
    wrong = torch.tensor([[0.0, 5.0, 0.0]]), torch.tensor([[1.0, 3.0, 0.0]])
    for variant in ("published", "released"):
        assert float(MBSD(variant=variant).distillation(logits_of(*wrong), torch.tensor([0]))) == 0


def test_without_weight_it_is_joint(splits: Splits) -> None:
    batch, none = first_batch(splits), {"distillation_weight": 0}
    joint, neutral, default, summed, released = (
        gradients(small_trainer(splits, method), batch)
        for method in (Joint(), MBSD(**none), MBSD(), SumOfHeads(), MBSD(variant="released", **none))
    )
    assert_same(neutral, joint)
    assert not torch.equal(default["branches.m0.head.weight"], joint["branches.m0.head.weight"])
    assert_same(released, summed)
