"""Learning the modality gap."""

from copy import deepcopy
from itertools import combinations
from math import exp, log, sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from bss.errors import InputError
from bss.model import MultimodalModel
from bss.training.loader import Batch, batches
from bss.training.loop import split_evidence
from bss.training.losses import class_weighted
from bss.training.methods._bilevel import mean_curvature, slope_after_a_step
from bss.training.methods._means import mean_of_logits
from bss.training.methods.joint import Joint
from bss.training.methods.lfm import LFM, divergence_from_mean, partner_loss
from bss.training.trainer import Trainer
from bss.types import FUSED, Split
from tests.helpers.killed import expect_resumed
from tests.helpers.steps import Splits, assert_same, first_batch, gradients, small_trainer, trained_weights

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
    assert_same(gradients(small_trainer(splits, LFM(**none)), batch), joint)  # nothing is compared


def learner(splits: Splits, **fields: Any) -> tuple[Trainer, LFM, Batch]:
    """A trainer at the first batch of its first epoch, which begins with what is held back."""
    train = splits[Split.TRAIN]
    method = LFM(schedule="learned", **fields)
    trainer = small_trainer(splits, method)
    clean = split_evidence(trainer.model, train, 16, trainer.runtime)
    method.begin_epoch(trainer, 0, lambda: clean, pytest.fail)
    order = method.order(np.arange(len(train)), trainer.memory)
    trainer.model.train()
    return trainer, method, next(iter(batches(train, order.indices, 16, trainer.runtime)))


def test_slopes_by_hand(splits: Splits) -> None:
    trainer = small_trainer(splits, LFM())
    first, second = list(trainer.model.parameters())[:2]
    with torch.no_grad():
        first.fill_(2.0)
    # d/dw of 3 w is 3, the second derivative of w^3 is 6 w = 12: their product is 36; the other tensor has no part.
    assert mean_curvature(trainer, 3 * first.sum() + second.sum(), (first**3).sum()) == pytest.approx(36)
    assert mean_curvature(trainer, first.sum(), second.square().sum()) == 0
    assert mean_curvature(trainer, first.sum(), first.sum()) == 0
    found = slope_after_a_step(trainer, 3 * first.sum() + second.sum(), 0.5 * second.sum() - first.sum())
    assert found == pytest.approx(3 * first.numel() - 0.5 * second.numel())


@pytest.mark.parametrize("variant", ["published", "released"])
def test_slopes_equal_their_slow_references(splits: Splits, variant: Any) -> None:
    """By differences: of U after two steps of the weights, and of gradients at two places; both in float64."""
    trainer, method, batch = learner(splits, variant=variant, start=0.5, rate=1e-2)
    held = torch.isin(batch.indices, trainer.memory["held back"])
    before = float(trainer.memory["alpha"])
    method._learn(trainer, batch, held)
    slope = (before - float(trainer.memory["alpha"])) / method.alpha_rate(0)

    model = deepcopy(trainer.model).double().eval()
    weights, inputs = list(model.parameters()), {name: values.double() for name, values in batch.inputs.items()}
    start = [weight.detach().clone() for weight in weights]

    def losses(rows: Tensor) -> tuple[Tensor, Tensor]:
        parts = {name: model.branch(name) for name in inputs}
        features = {name: part.encoder((inputs[name] - part.mean) / part.std)[rows] for name, part in parts.items()}
        logits = {name: parts[name].head(values) for name, values in features.items()}
        gap = (
            partner_loss(features, all_there(features), 0.5)
            if variant == "published"
            else divergence_from_mean(logits, all_there(features))
        )
        mean = torch.stack(list(logits.values())).mean(dim=0)
        return torch.nn.functional.cross_entropy(mean, batch.labels[rows]), gap

    def slopes(loss: Tensor) -> list[Tensor]:
        return list(torch.autograd.grad(loss, weights, retain_graph=True, allow_unused=True, materialize_grads=True))

    def move(directions: list[Tensor], size: float) -> None:
        with torch.no_grad():
            for weight, origin, direction in zip(weights, start, directions, strict=True):
                weight.copy_(origin + size * direction)

    if variant == "published":
        classes, gap = losses(~held)
        found = []
        for directions in (slopes(gap), slopes(classes)):
            move(directions, -1e-5)
            found.append(float(losses(held)[0].detach()))
        assert slope == pytest.approx((found[0] - found[1]) / 1e-5, rel=1e-3)
    else:
        ahead, sides = slopes(losses(held)[0]), []
        for sign in (1, -1):
            move(ahead, sign * 1e-5)
            classes, gap = losses(held)
            sides.append(slopes((1 - before) * classes + before * gap)[0])
        assert slope == pytest.approx(float((sides[0] - sides[1]).mean()) / 2e-5, rel=1e-2, abs=1e-6)


def test_rates_and_ranges_of_alpha_by_hand(splits: Splits) -> None:
    released = LFM(variant="released", epochs=200)
    found = [released.alpha_rate(e) for e in (0, 19, 20, 59, 199, 300)]
    assert found == pytest.approx([1e-4, 1e-4, 5e-5, 2.5e-5, 1e-4 / 512, 1e-4 / 512])
    assert LFM(variant="released", epochs=10).alpha_rate(3) == pytest.approx(1e-4 / 8)
    assert LFM(epochs=200).alpha_rate(199) == 0.5
    for variant, least in (("published", 0.0), ("released", 0.05)):
        ends = set()
        for start in (0.3, 0.7):
            trainer, method, batch = learner(splits, variant=variant, rate=1e9, start=start)
            method._learn(trainer, batch, torch.isin(batch.indices, trainer.memory["held back"]))
            ends.add(round(float(trainer.memory["alpha"]), 9))
        assert ends <= {least, 1 - least}, variant


def test_alpha_alone_learns_from_what_is_held_back(splits: Splits) -> None:
    trainer, method, batch = learner(splits, start=0.5)
    held = trainer.memory["held back"].tolist()
    assert batch.indices[:8].tolist() == held
    assert len(set(held)) == 8
    sequence = np.array([3, *held, 3, 5])
    assert method.order(sequence, trainer.memory).indices.tolist() == [*held, *(i for i in sequence if i not in held)]
    few = np.array([held[0], held[1], 5])
    assert method.order(few, trainer.memory).indices.tolist() == few.tolist(), "one alone does not make a batch"

    outputs = trainer.model(batch.inputs)
    features = {name: values[8:] for name, values in outputs.features.items()}
    classes = torch.nn.functional.cross_entropy(outputs.logits[FUSED][8:], batch.labels[8:])
    gap = partner_loss(features, all_there(features), 0.5)
    names, weights = zip(*trainer.model.named_parameters(), strict=True)
    slopes = [
        torch.autograd.grad(loss, weights, retain_graph=True, materialize_grads=True, allow_unused=True)
        for loss in (classes, gap)
    ]
    handed, alpha = gradients(trainer, batch), float(trainer.memory["alpha"])
    assert alpha != 0.5
    for name, of_classes, of_gap in zip(names, *slopes, strict=True):
        assert torch.allclose(handed[name], (1 - alpha) * of_classes + alpha * of_gap, atol=1e-6), name

    later = batch._replace(indices=torch.tensor([i for i in range(96) if i not in held][:16]))
    gradients(trainer, later)
    assert float(trainer.memory["alpha"]) == alpha


@pytest.mark.parametrize("others", [0, 1, 2])
def test_with_less_than_two_others_what_is_held_back_trains_the_model(splits: Splits, others: int) -> None:
    """Against an alpha that stays, on the same samples in the same order."""
    drawn = np.arange(3 + others)
    found = []
    for method in (LFM(schedule="learned"), LFM(schedule="constant", weight=0.95)):
        trainer = small_trainer(splits, method)
        trainer.memory |= {"alpha": torch.tensor(0.95, dtype=torch.float64), "held back": torch.arange(3)}
        order = method.order(drawn, trainer.memory).indices
        trainer.train_epoch(batches(splits[Split.TRAIN], order, 16, trainer.runtime), 0.01)
        found.append({**dict(trainer.model.named_parameters()), "alpha": trainer.memory["alpha"]})
    assert (float(found[0]["alpha"]) == 0.95) == (others < 2)
    if others < 2:
        assert_same(*found)


def test_without_samples_to_learn_from_alpha_is_constant(splits: Splits) -> None:
    fields: Any = {"alignment": "reverse_js"}
    learned = trained_weights(splits, LFM(schedule="learned", held_back=0, start=0.3, **fields))
    assert_same(learned, trained_weights(splits, LFM(schedule="constant", weight=0.3, **fields)))
    moved = trained_weights(splits, LFM(schedule="learned", start=0.3, **fields))
    assert not torch.equal(moved["branches.m0.head.weight"], learned["branches.m0.head.weight"])


def test_more_than_a_batch_cannot_be_held_back(splits: Splits) -> None:
    with pytest.raises(InputError, match="held_back of lfm: 15 samples and two more do not fit into a batch of 16"):
        learner(splits, held_back=15)


@pytest.mark.parametrize("variant", ["published", "released"])
def test_what_is_learned_of_alpha_survives_a_kill(splits: Splits, tmp_path: Path, variant: Any) -> None:
    expect_resumed(splits, LFM(schedule="learned", variant=variant), tmp_path)
