"""Multimodal negative learning."""

from math import exp, log

import pytest
import torch
from torch import Tensor

from bss.encoders.mlp import MLP
from bss.model import MultimodalModel
from bss.training.methods.joint import Joint
from bss.training.methods.mnl import MNL
from bss.types import Split
from tests.helpers.steps import Splits, assert_same, first_batch, gradients, small_trainer, trained_weights
from tests.helpers.toy import packed_toy


class MeanOfHeads(Joint):
    """`joint` with the mean of the logits as its fusion."""

    def prepare(self, model: MultimodalModel) -> None:
        MNL().prepare(model)


@pytest.fixture(scope="module", params=[2, 3], ids=lambda number: f"{number} modalities")
def splits(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Splits:
    return packed_toy(tmp_path_factory.mktemp("toy"), request.param)


def softmax(values: list[float]) -> list[float]:
    highest = max(values)
    return [exp(value - highest) / sum(exp(other - highest) for other in values) for value in values]


def slow_negative_loss(rows: list[list[list[float]]], labels: list[int], variant: str, weight: float) -> float:
    """Sample by sample, modality by modality, class by class; `rows` has [modality][sample][class]."""
    total, number, classes = 0.0, len(rows), len(rows[0][0])
    for sample, y in enumerate(labels):
        z = [rows[m][sample] for m in range(number)]
        fused = [sum(values[c] for values in z) / number for c in range(classes)]
        j = max((c for c in range(classes) if c != y), key=lambda c: fused[c])
        xi = [values[y] - values[j] for values in z]
        p = [softmax(values) for values in z]
        for t in range(number):
            better = [
                s
                for s in range(number)
                if any(z[s])
                and any(z[t])
                and (
                    (xi[s] > xi[t] and p[s][y] > p[t][y])
                    or (variant == "released" and s > t and xi[s] >= xi[t] and p[s][y] >= p[t][y])
                )
            ]
            if not better:
                continue
            s = max(better, key=lambda s: xi[s])
            total -= weight * sum(p[s][c] * log(p[t][c]) for c in range(classes) if c != y)
            if variant == "released":
                total -= log(p[t][y])
    return total / len(labels) / (classes if variant == "released" else 1)


def logits_of(z: Tensor) -> dict[str, Tensor]:
    return {**{f"m{m}": values for m, values in enumerate(z)}, "fused": z.mean(dim=0)}


@pytest.mark.parametrize("variant", ["published", "released"])
@pytest.mark.parametrize("number", [2, 3, 6])
def test_the_negative_loss_equals_its_slow_reference(variant: str, number: int) -> None:
    torch.manual_seed(number)
    z, labels = 2 * torch.randn(number, 40, 4), torch.arange(40) % 4
    z[0, :5] = 0  # these samples lack the first modality
    z[1, 5:10] = z[0, 5:10]  # a tie
    found = MNL(variant=variant, negative_weight=0.3).negative_loss(logits_of(z), labels)
    assert float(found) == pytest.approx(slow_negative_loss(z.tolist(), labels.tolist(), variant, 0.3), rel=1e-5)


def test_two_samples_by_hand() -> None:
    z = torch.tensor([[[2.0, 0, -1], [0, 1, 0]], [[0.5, 0, 0.2], [0, 0, 2]]])
    logits, labels = logits_of(z), torch.tensor([0, 2])
    assert float(MNL().loss(logits, labels)) == pytest.approx(1.942728, abs=1e-6)
    assert float(MNL(negative_weight=1).negative_loss(logits, labels)) == pytest.approx(0.213480, abs=1e-6)
    assert float(MNL().negative_loss(logits, labels)) == pytest.approx(2.092165 - 1.942728, abs=2e-6)
    released = MNL(variant="released").negative_loss(logits, labels)
    assert float(released) == pytest.approx(0.165896 + 0.284704, abs=2e-6)


def test_where_the_criteria_disagree_nobody_guides() -> None:
    """The first has the larger margin to the rival, the second the larger probability of the true class."""
    z = torch.tensor([[[0.0, -4, 0, 0]], [[2.0, 1, -9, -9]]])
    for variant in ("published", "released"):
        assert float(MNL(variant=variant).negative_loss(logits_of(z), torch.tensor([0]))) == 0


def test_the_guide_learns_nothing_from_guiding() -> None:
    z = torch.tensor([[[3.0, 0, 0]], [[1.0, 0, 0.5]]], requires_grad=True)
    MNL().negative_loss(logits_of(z), torch.tensor([0])).backward()
    assert z.grad is not None
    assert not z.grad[0].any()
    assert z.grad[1].any()


def test_a_modality_that_is_missing_neither_guides_nor_is_guided() -> None:
    """Its zeros would be surer than a modality that is wrong."""
    wrong = torch.tensor([[0.0, 5.0, 0.0]])
    assert float(MNL().negative_loss(logits_of(torch.stack([torch.zeros(1, 3), wrong])), torch.tensor([0]))) == 0


def test_a_step_adds_the_negative_loss_from_its_start_on(splits: Splits) -> None:
    batch = first_batch(splits)
    plain: dict[int, dict[str, Tensor]] = {}
    later: dict[int, dict[str, Tensor]] = {}
    for method, found in ((MeanOfHeads(), plain), (MNL(starts=2), later)):
        for epoch in range(3):
            trainer = small_trainer(splits, method)
            trainer.epoch = epoch
            found[epoch] = gradients(trainer, batch)
    for epoch in range(2):
        assert_same(plain[epoch], later[epoch])
    trainer = small_trainer(splits, MNL())
    trainer.model.train()
    logits = trainer.model(batch.inputs).logits
    (MNL().loss(logits, batch.labels) + MNL().negative_loss(logits, batch.labels)).backward()
    for name, weight in trainer.model.named_parameters():
        assert torch.allclose(later[2][name], weight.grad, atol=1e-6), name
    assert any(not torch.equal(values, plain[2][name]) for name, values in later[2].items())


def test_without_weight_it_is_joint_on_the_mean_of_the_logits(splits: Splits) -> None:
    assert_same(trained_weights(splits, MNL(negative_weight=0, starts=0)), trained_weights(splits, MeanOfHeads()))


def test_the_fused_output_is_the_mean_of_the_logits(splits: Splits) -> None:
    trainer = small_trainer(
        splits, MNL(), encoders={name: MLP(width=4) for name in splits[Split.TRAIN].meta.modalities}
    )
    inputs = first_batch(splits).inputs
    logits = trainer.model(inputs).logits
    parts = torch.stack([values for name, values in logits.items() if name != "fused"])
    assert torch.allclose(logits["fused"], parts.mean(dim=0))
    assert list(trainer.model({"m0": inputs["m0"]}).logits) == ["m0"]
