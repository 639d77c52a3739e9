"""Learning the modality gap."""

from itertools import combinations
from math import exp, log, sqrt
from typing import Any

import pytest
import torch
from torch import Tensor

from bss.encoders.mlp import MLP
from bss.model import MultimodalModel
from bss.training.losses import class_weighted
from bss.training.methods._means import mean_of_logits
from bss.training.methods.joint import Joint
from bss.training.methods.lfm import LFM, divergence_from_mean, partner_loss
from bss.types import Split
from tests.helpers.steps import Splits, assert_same, first_batch, gradients, small_trainer

A, V = torch.tensor([[2.0, 0.5, -1], [0.2, 1.5, 0.3]]), torch.tensor([[0.1, 0.4, 0.2], [1.0, -0.5, 0.6]])
Rows = list[list[float]]


class MeanOfHeads(Joint):
    """`joint` with the mean of the logits as its fusion."""

    def prepare(self, model: MultimodalModel) -> None:
        mean_of_logits(model)


def all_there(values: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: torch.ones(len(rows), dtype=torch.bool) for name, rows in values.items()}


def slow_partner_loss(features: list[Rows], temperature: float) -> float:
    """Pair by pair, row by row and partner by partner; `features` has [modality][sample][dimension]."""
    pairs, total = list(combinations(features, 2)), 0.0
    for pair in pairs:
        both = [i for i in range(len(pair[0])) if any(pair[0][i]) and any(pair[1][i])]
        unit = [[[x / sqrt(sum(y * y for y in rows[i])) for x in rows[i]] for i in both] for rows in pair]
        for one, other in (unit, unit[::-1]):
            for own, row in enumerate(one):
                near = [exp(sum(x * y for x, y in zip(row, each, strict=True)) / temperature) for each in other]
                total -= log(near[own] / sum(near)) / len(both) / 2 / len(pairs)
    return total


def slow_divergence(logits: list[Rows]) -> float:
    """Sample by sample, modality by modality and class by class; a row of zeros is a modality that is not there."""
    total, number = 0.0, len(logits[0])
    for sample in range(number):
        rows = [values[sample] for values in logits if any(values[sample])]
        p = [[exp(value) / sum(map(exp, row)) for value in row] for row in rows]
        mean = [sum(values) / len(p) for values in zip(*p, strict=True)]
        for own in p:
            total += sum(m * log(m / q) for m, q in zip(mean, own, strict=True)) / len(p) / number
    return total


@pytest.mark.parametrize("number", [2, 3, 6])
def test_both_gaps_equal_their_slow_references(number: int) -> None:
    values = torch.randn(number, 10, 4, generator=torch.Generator().manual_seed(number))
    values[0, :2] = 0  # these samples lack the first modality
    named = {f"m{m}": rows for m, rows in enumerate(values)}
    there = {name: rows.any(dim=1) for name, rows in named.items()}
    by_features = float(partner_loss(named, there, 0.3))
    assert by_features == pytest.approx(slow_partner_loss(values.tolist(), 0.3), rel=1e-5)
    by_logits = float(divergence_from_mean(named, there))
    assert by_logits == pytest.approx(slow_divergence(values.tolist()), rel=1e-5)


def test_gaps_by_hand() -> None:
    features = {
        "a": torch.tensor([[1.0, 0.2], [-0.3, 1], [0.5, 0.5]]),
        "v": torch.tensor([[0.9, 0.1], [0.2, 0.8], [-0.4, 0.6]]),
    }
    assert float(partner_loss(features, all_there(features), 0.5)) == pytest.approx(1.077377, abs=1e-6)
    two = {"a": A, "v": V}
    assert float(divergence_from_mean(two, all_there(two))) == pytest.approx(0.178157, abs=1e-6)
    one = {"a": torch.tensor([[1.0, 0, 0]]), "v": torch.tensor([[0.0, 2, 0]])}
    assert float(divergence_from_mean(one, all_there(one))) == pytest.approx(0.219176, abs=1e-6)


def test_weights_by_hand() -> None:
    found = [LFM().alpha(t - 1) for t in (1, 2, 5, 10, 100)]
    assert found == pytest.approx([0.632121, 0.393469, 0.181269, 0.095163, 0.009950], abs=1e-6)
    released = LFM(variant="released", epochs=200)
    found = [1 - released.alpha(e) for e in (0, 20, 50, 100, 150, 199)]
    assert found == pytest.approx([0.204624, 0.300887, 0.436681, 0.539155, 0.821314, 0.915989], abs=1e-6)
    assert LFM(schedule="fitted", epochs=10).alpha(5) == released.alpha(100)
    assert LFM(schedule="fitted", epochs=10).alpha(12) == released.alpha(199)


@pytest.mark.parametrize(
    ("logits", "labels", "settings", "wanted"),
    [((A, V), [0, 1], {"schedule": "constant", "weight": 0.95}, 0.423287),
     ((torch.tensor([[1.0, 0, 0]]), torch.tensor([[0.0, 2, 0]])), [0], {}, 0.831677)],
)  # fmt: skip
def test_released_losses_by_hand(logits: Any, labels: list[int], settings: Any, wanted: float) -> None:
    method = LFM(variant="released", **settings)
    named, alpha = dict(zip("av", logits, strict=True)), method.alpha(0)
    z, y = sum(named.values()) / 2, torch.tensor(labels)
    gap = divergence_from_mean(named, all_there(named))
    loss = 2 * ((1 - alpha) * torch.nn.functional.cross_entropy(z, y) + alpha * gap)
    assert float(loss) == pytest.approx(wanted, abs=1e-6)


@pytest.mark.parametrize("variant", ["published", "released"])
def test_a_step_minimises_the_slow_loss(splits: Splits, variant: Any) -> None:
    trainer, batch = small_trainer(splits, LFM(variant=variant)), first_batch(splits)
    outputs, loss = trainer.method.step(trainer, batch)
    names = list(trainer.model.branches)
    alpha = trainer.method.alpha(0)  # type: ignore[attr-defined]
    z = [outputs.logits[name].tolist() for name in names]
    own = 0.0
    for sample, y in enumerate(batch.labels.tolist()):
        mean = [sum(values) / len(z) for values in zip(*(rows[sample] for rows in z), strict=True)]
        own -= log(exp(mean[y]) / sum(map(exp, mean))) / len(batch.labels)
    if variant == "published":
        wanted = (1 - alpha) * own + alpha * slow_partner_loss([outputs.features[n].tolist() for n in names], 0.5)
    else:
        wanted = 2 * ((1 - alpha) * own + alpha * slow_divergence(z))
    assert float(loss.detach()) == pytest.approx(wanted, rel=1e-5)


def test_features_are_brought_to_one_width_where_they_are_compared(splits: Splits) -> None:
    batch = first_batch(splits)
    for alignment, number in (("infonce", 1), ("reverse_js", len(splits[Split.TRAIN].meta.modalities))):
        trainer = small_trainer(splits, LFM(alignment=alignment))
        assert len({values.shape[1] for values in trainer.model(batch.inputs).features.values()}) == number


@pytest.mark.parametrize("scale", [0.0, 1e4])
def test_extreme_values_have_a_finite_gradient(scale: float) -> None:
    values = {"a": (A * scale).requires_grad_(), "v": (V * -scale).requires_grad_()}
    there = all_there(values)
    (partner_loss(values, there, 0.07) + divergence_from_mean(values, there)).backward()
    assert all(each.grad is not None and each.grad.isfinite().all() for each in values.values())


def test_classes_do_not_weigh_the_gap() -> None:
    features = {"a": A, "v": V}
    plain = partner_loss(features, all_there(features), 0.5)
    with class_weighted(torch.tensor([0.1, 1.0, 1.9])):
        assert torch.equal(partner_loss(features, all_there(features), 0.5), plain)


def test_without_weight_it_is_the_mean_of_the_heads(splits: Splits) -> None:
    batch, none = first_batch(splits), {"schedule": "constant", "weight": 0.0}
    joint, neutral, default = (
        gradients(small_trainer(splits, method), batch)
        for method in (
            MeanOfHeads(unimodal_weight=0),
            LFM(alignment="reverse_js", **none),
            LFM(alignment="reverse_js"),
        )
    )
    assert_same(neutral, joint)
    assert not torch.equal(default["branches.m0.head.weight"], joint["branches.m0.head.weight"])
    alike = {name: MLP(width=8) for name in splits[Split.TRAIN].meta.modalities}
    found = [
        gradients(small_trainer(splits, method, encoders=alike), batch)
        for method in (MeanOfHeads(unimodal_weight=0), LFM(**none))
    ]
    assert_same(*found)
