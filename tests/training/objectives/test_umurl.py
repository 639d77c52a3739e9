"""UmURL: golden numbers, a step against the equations, and what a missing modality leaves."""

from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor

from bss.model import Outputs
from bss.training.methods.joint import Joint
from bss.training.objectives._part import presence
from bss.training.objectives._projections import regularity, similarities
from bss.training.objectives.umurl import UmURL
from bss.types import Split
from tests.helpers.gaps import with_gaps
from tests.helpers.steps import Splits, first_batch, gradients, small_trainer
from tests.helpers.toy import packed_toy

SMALL = {"width": 6, "projection": 5}


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Splits:
    return packed_toy(tmp_path_factory.mktemp("three"), 3)


def everywhere(values: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: torch.ones(len(rows), dtype=torch.bool) for name, rows in values.items()}


def test_the_golden_regularity() -> None:
    values = torch.tensor([[0.0, 1.0], [1.0, 0.0], [2.0, 0.0], [1.0, 3.0]])
    for scale, golden in ((1.0, (0.569717, 0.091721, 0.111111)), (0.5, (2.218074, 0.442226, 0.006944))):
        found = [regularity(scale * values, *weights).item() for weights in ((5, 1), (1, 0), (0, 1))]
        assert found == pytest.approx(golden, abs=1e-6)
    assert regularity(values[:1], 5, 1) == 0


def test_the_golden_loss() -> None:
    alone = {
        "joint": torch.tensor([[1.0, 0.0], [0.0, 1.0]]),
        "bone": torch.tensor([[1.0, 1.0], [0.0, 0.0]]),
        "motion": torch.tensor([[0.0, 0.0], [1.0, 1.0]]),
    }
    share = {name: alone[name] + shift for name, shift in (("joint", 0.1), ("bone", -0.2), ("motion", 0.3))}
    intra, inter = similarities(alone, share, everywhere(alone))
    assert (intra.item(), inter.item()) == pytest.approx((0.14, 0.666667), abs=1e-6)
    kept = sum(regularity(values, 5, 1).item() for group in (alone, share) for values in group.values())
    assert kept == pytest.approx(10.284675, abs=1e-6)
    assert 5 * (intra + inter).item() + kept == pytest.approx(14.318009, abs=1e-5)


def slow_loss(
    features: dict[str, Tensor], second: dict[str, Tensor], part: object, there: dict[str, Tensor]
) -> Tensor:
    """Sample by sample, modality by modality; the networks alone are those of the part."""
    names, get = list(features), partial(getattr, part)
    count = len(next(iter(features.values())))
    single = {name: get("embed")[name](features[name]) for name in names}
    joint = {name: get("embed")[name](second[name]) for name in names}
    rows = []
    for row in range(count):
        present = [joint[name][row] for name in names if there[name][row]]
        rows.append(torch.stack(present).mean(dim=0))
    together = get("trunk")(get("fuse")(torch.stack(rows)))
    total = torch.zeros(())
    alone, share = {}, {}
    for name in names:
        kept = there[name].nonzero().flatten().tolist()
        alone[name] = dict(zip(kept, get("project")[name](get("trunk")(single[name])[kept]), strict=True))
        share[name] = dict(zip(kept, get("project")[name](together[kept]), strict=True))
    for name in names:
        intra, inter = [], []
        for row, z in alone[name].items():
            centre = torch.stack([alone[other][row] for other in names if row in alone[other]]).mean(dim=0)
            intra.append(((z - share[name][row]) ** 2).mean())
            inter.append(((z - centre) ** 2).mean())
        total = total + 5 * (torch.stack(intra).mean() + torch.stack(inter).mean())
        for values in (alone[name], share[name]):
            z = torch.stack([*values.values()])
            cov = torch.cov(z.T)
            for one in range(z.shape[1]):
                total = total + 5 * torch.relu(1 - torch.sqrt(z[:, one].var() + 1e-4)) / z.shape[1]
                for other in range(z.shape[1]):
                    total = total + (cov[one, other] ** 2 / z.shape[1] if one != other else 0)
    return total


@pytest.mark.parametrize("gaps", [{}, {"m0": [0, 3], "m2": [3, 4, 5]}])
def test_a_step_descends_the_slow_loss(gaps: dict[str, list[int]], three: Splits) -> None:
    trainer = small_trainer(three, UmURL(**SMALL))
    trainer._augment = lambda inputs: {
        name: values.float() + torch.randn(values.shape) if name == "m1" else values
        for name, values in inputs.items()
    }
    batch = with_gaps(first_batch(three), **gaps)
    found = gradients(trainer, batch)
    trainer.runtime.seed(trainer._seed + 1)
    views = [trainer._augment(batch.inputs) for _ in range(2)]
    model = trainer.model
    model.zero_grad()
    there = presence(trainer, batch)
    features = [{name: model.branch(name)(view[name], there[name])[0] for name in model.branches} for view in views]
    slow_loss(features[0], features[1], model.objective, there).backward()
    for name, weight in model.named_parameters():
        expected = torch.zeros_like(weight) if weight.grad is None else weight.grad
        assert torch.allclose(found[name], expected, rtol=1e-3, atol=5e-4), name
    assert not any(found[name].any() for name in found if ".head." in name or name.startswith("fusion"))


def test_values_of_what_a_sample_lacks_change_nothing(three: Splits) -> None:
    batch = with_gaps(first_batch(three), m1=[2, 5], m2=list(range(15)))
    other = batch._replace(
        inputs={**batch.inputs, "m1": batch.inputs["m1"].clone(), "m2": batch.inputs["m2"].clone()}
    )
    other.inputs["m1"][[2, 5]] = 200
    other.inputs["m2"][:15] = 90
    one, two = (gradients(small_trainer(three, UmURL(**SMALL)), each) for each in (batch, other))
    for name, values in one.items():
        assert torch.equal(values, two[name]), name
    assert not any(values.any() for name, values in one.items() if name.startswith("objective.project.m2"))


def test_without_random_changes_an_encoder_runs_once_and_with_them_twice(three: Splits) -> None:
    counts = []
    for augment in (None, lambda inputs: {**inputs, "m0": inputs["m0"].float()}):
        trainer = small_trainer(three, UmURL(**SMALL))
        trainer._augment = augment
        calls: list[str] = []
        for name, branch in trainer.model.branches.items():
            branch.encoder.register_forward_hook(lambda *_, name=name, calls=calls: calls.append(name))
        gradients(trainer, first_batch(three))
        counts.append([calls.count(name) for name in trainer.model.branches])
    assert counts == [[1, 1, 1], [2, 1, 1]]


def test_features_do_not_collapse(three: Splits) -> None:
    """Without the regulariser all samples become one; with it their spread stays."""
    spreads = []
    for variance in (0.0, 5.0):
        trainer = small_trainer(three, UmURL(**SMALL, variance=variance, covariance=0))
        for _ in range(40):
            trainer.train_epoch([first_batch(three, 48)], 0.02)
        model = trainer.model.eval()
        with torch.no_grad():
            outputs: Outputs = model(first_batch(three, 48).inputs)
        of_each = [outputs.features[f"{name}.alone"].std(dim=0).mean() for name in model.branches]
        spreads.append(float(torch.stack(of_each).mean()))
    assert spreads[1] > 0.5 > 0.3 > spreads[0]


def test_it_asks_for_no_label(three: Splits) -> None:
    batch = first_batch(three)
    other = batch._replace(labels=batch.labels.roll(1))
    one, two = (gradients(small_trainer(three, UmURL(**SMALL)), each) for each in (batch, other))
    assert all(torch.equal(values, two[name]) for name, values in one.items())
    assert not UmURL().trains_heads
    assert np.isclose(UmURL(fused_weight=0.5).fused_weight, Joint(fused_weight=0.5).fused_weight)
    assert len(three[Split.TRAIN]) == 96
