"""Evidential opinions, and their combination; `etmc` too."""

from itertools import permutations
from math import exp, lgamma, log1p
from typing import Any

import pytest
import torch
from scipy.special import digamma
from torch import Tensor
from torch.nn.functional import softplus

from bss.training.methods._opinions import combined, risk
from bss.training.methods.etmc import ETMC
from bss.training.methods.tmc import TMC
from tests.helpers.gaps import with_gaps
from tests.helpers.steps import Splits, first_batch, gradients, small_trainer

A, V = torch.tensor([[2.0, 0.5, -1], [0.2, 1.5, 0.3]]), torch.tensor([[0.1, 0.4, 0.2], [1.0, -0.5, 0.6]])
LABELS = torch.tensor([0, 1])


def slow_combined(views: list[list[float]]) -> list[float]:
    """alpha of one sample by Dempster's rule with beliefs and conflict, one view after the other."""
    alpha = [value + 1 for value in views[0]]
    for view in views[1:]:
        other = [value + 1 for value in view]
        number = len(alpha)
        beliefs = [[(a - 1) / sum(each) for a in each] for each in (alpha, other)]
        u = [number / sum(each) for each in (alpha, other)]
        conflict = sum(beliefs[0][i] * beliefs[1][j] for i in range(number) for j in range(number) if i != j)
        belief = [(b * c + b * u[1] + c * u[0]) / (1 - conflict) for b, c in zip(*beliefs, strict=True)]
        unsure = u[0] * u[1] / (1 - conflict)
        alpha = [b * number / unsure + 1 for b in belief]
    return alpha


def slow_risk(alpha: list[float], label: int, strength: float) -> float:
    fit = digamma(sum(alpha)) - digamma(alpha[label])
    other = [1.0 if k == label else a for k, a in enumerate(alpha)]
    total = sum(other)
    divergence = lgamma(total) - lgamma(len(other)) - sum(map(lgamma, other))
    divergence += sum((a - 1) * (digamma(a) - digamma(total)) for a in other)
    return float(fit + strength * divergence)


def slow_evidence(row: list[float]) -> list[float]:
    return [log1p(exp(value)) for value in row]


def test_two_samples_by_hand() -> None:
    alphas = [softplus(z).double() + 1 for z in (A, V)]
    expected = (
        [[3.126928, 1.974077, 1.313262], [1.798139, 2.701413, 1.854355]],
        [[1.744397, 1.913015, 1.798139], [2.313262, 1.474077, 2.037488]],
    )
    for found, values in zip(alphas, expected, strict=True):
        assert torch.allclose(found, torch.tensor(values).double(), atol=1e-6)
    together = combined(torch.stack(alphas) - 1).exp()
    values = [[4.399084, 3.183541, 2.194743], [3.460789, 3.444357, 3.187304]]
    assert torch.allclose(together, torch.tensor(values).double(), atol=2e-6)
    assert (3 / together.sum(dim=1)).tolist() == pytest.approx([0.306831, 0.297252], abs=1e-6)
    assert risk(alphas[0], LABELS, 0.5).tolist() == pytest.approx([0.917394, 1.094993], abs=1e-6)
    assert risk(together, LABELS, 0.5).tolist() == pytest.approx([1.172569, 1.582627], abs=1e-6)


@pytest.mark.parametrize("number", [2, 3, 6])
@pytest.mark.parametrize("classes", [2, 5])
def test_the_combination_is_that_of_dempster_in_any_order(number: int, classes: int) -> None:
    each = 3 * torch.rand(number, 4, classes, generator=torch.Generator().manual_seed(number))
    found = combined(each).exp()
    for row in range(4):
        assert found[row].tolist() == pytest.approx(slow_combined(each[:, row].tolist()), rel=1e-4)
    for order in list(permutations(range(number)))[:5]:
        assert torch.allclose(combined(each[list(order)]).exp(), found, rtol=1e-5)


def test_a_view_without_evidence_changes_nothing() -> None:
    each = torch.rand(2, 4, 3)
    none = torch.zeros(1, 4, 3)
    assert torch.equal(combined(torch.cat([each, none])), combined(each))
    assert torch.allclose(combined(none).exp(), torch.ones(4, 3), atol=1e-6)


@pytest.mark.parametrize("strength", [0.0, 0.3, 1.0])
def test_the_risk_equals_its_slow_reference(strength: float) -> None:
    alpha = 1 + 20 * torch.rand(30, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    labels = torch.arange(30) % 4
    found = risk(alpha, labels, strength).tolist()
    assert found == pytest.approx(
        [slow_risk(*given, strength) for given in zip(alpha.tolist(), labels.tolist(), strict=True)]
    )


@pytest.mark.parametrize("size", [-1e4, 1e4, 1e8])
def test_any_evidence_has_a_finite_loss_and_gradient(size: float) -> None:
    z = torch.full((6, 2, 3), size)
    z[:, 0, 1] = 0.5
    z.requires_grad_()
    logits = combined(softplus(z))
    assert torch.allclose(logits.softmax(dim=1).sum(dim=1), torch.ones(2))
    loss = TMC().evidential_loss(list(z), logits, LABELS, 1.0)
    loss.backward()
    assert loss.isfinite()
    assert z.grad is not None
    assert z.grad.isfinite().all()


@pytest.mark.parametrize(("method", "epoch"), [(TMC, 0), (TMC, 2), (TMC, 9), (ETMC, 2)])
def test_the_loss_of_a_step_is_the_slow_one(splits: Splits, method: type[TMC], epoch: int) -> None:
    batch = first_batch(splits)
    trainer = small_trainer(splits, method(anneal=4, fused_weight=0.7, unimodal_weight=0.3))
    model: Any = trainer.model.train()
    with torch.no_grad():
        outputs = model(batch.inputs)
        views = [outputs.logits[name] for name in model.branches]
        if method is ETMC:
            views.append(model.fusion.rule.view(outputs.features))
    strength, total = min(1, epoch / 4), 0.0
    for row, label in enumerate(batch.labels.tolist()):
        each = [slow_evidence(z[row].tolist()) for z in views]
        together = slow_combined(each)
        assert outputs.logits["fused"][row].exp().tolist() == pytest.approx(together, rel=1e-4)
        total += 0.7 * slow_risk(together, label, strength)
        total += 0.3 * sum(slow_risk([e + 1 for e in view], label, strength) for view in each)
    trainer.epoch = epoch
    _, loss = trainer.method.step(trainer, batch)
    assert float(loss.detach()) == pytest.approx(total / len(batch.labels), rel=1e-5)


def test_the_fused_softmax_is_the_mean_of_the_opinion() -> None:
    logits = combined(softplus(torch.stack([A, V])))
    alpha = logits.exp()
    assert torch.allclose(logits.softmax(dim=1), alpha / alpha.sum(dim=1, keepdim=True))


@pytest.mark.parametrize("method", [TMC(), ETMC()])
def test_a_first_epoch_is_without_divergence(method: TMC) -> None:
    views: list[Tensor] = [A, V]
    fused = combined(softplus(torch.stack(views)))
    first, late = (float(method.evidential_loss(views, fused, LABELS, strength)) for strength in (0.0, 1.0))
    assert first < late


def test_the_view_of_all_is_the_fusion_of_the_model(splits: Splits) -> None:
    trainer, batch = small_trainer(splits, ETMC()), first_batch(splits)
    found = gradients(trainer, batch)
    assert bool(found["fusion.rule.view.weight"].any())
    assert "fusion.rule.view.weight" not in small_trainer(splits, TMC()).model.state_dict()


@pytest.mark.parametrize("method", [TMC(), ETMC()])
def test_what_a_sample_lacks_gives_no_evidence(splits: Splits, method: TMC) -> None:
    trainer, batch = small_trainer(splits, method), with_gaps(first_batch(splits), m0=[1, 2])
    model: Any = trainer.model.eval()
    before = model(batch.inputs).logits["fused"]
    with torch.no_grad():
        model.branch("m0").head.bias += 5
    after = model(batch.inputs).logits["fused"]
    assert torch.equal(before[[1, 2]], after[[1, 2]])
    assert not torch.equal(before[3], after[3])
    outputs = model(batch.inputs)
    views = [outputs.logits[name][1].tolist() for name in model.branches if name != "m0"]
    if isinstance(method, ETMC):
        views.append(model.fusion.rule.view(outputs.features)[1].tolist())
    together = slow_combined([slow_evidence(view) for view in views])
    assert after[1].exp().tolist() == pytest.approx(together, rel=1e-4)
    assert all(gradient.isfinite().all() for gradient in gradients(trainer, batch).values())


def test_what_a_sample_lacks_has_no_loss() -> None:
    views, none = [A.clone(), V], TMC(fused_weight=0)
    views[0][1] = 0  # the second sample lacks the first view
    alone = [
        slow_risk([e + 1 for e in slow_evidence(z[row].tolist())], row, 1) for z, row in ((A, 0), (V, 0), (V, 1))
    ]
    assert float(none.evidential_loss(views, A, LABELS, 1.0)) == pytest.approx(sum(alone) / 2, rel=1e-5)


def test_a_view_of_nothing_gives_no_evidence(splits: Splits) -> None:
    """A sample without any modality, which the fusion of features has a bias for."""
    model: Any = small_trainer(splits, ETMC()).model
    features = {name: torch.zeros(2, model.branch(name).head.in_features) for name in model.branches}
    assert torch.allclose(model.fusion(features).exp(), torch.ones(2, 3), atol=1e-6)
