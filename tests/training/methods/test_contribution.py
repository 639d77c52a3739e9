"""What the fusion owes to each modality, whatever the fusion."""

from typing import Any

import pytest
import torch
from torch import Tensor

from bss.encoders.fusions.attention import Attention
from bss.encoders.fusions.concat import Concat
from bss.encoders.fusions.fusion import Fusion
from bss.encoders.fusions.gated import Gated
from bss.training.methods._contribution import contributions, leads
from bss.training.methods.joint import Joint
from tests.helpers.steps import Splits, first_batch, small_trainer

FUSIONS: dict[str, Fusion] = {"concat": Concat(), "gated": Gated(width=8), "attention": Attention(width=8)}


def found(splits: Splits, fusion: Fusion) -> tuple[Tensor, dict[str, Tensor], dict[str, Tensor], Any]:
    """Fused logits, features and contributions of a batch, and the fusion."""
    trainer, batch = small_trainer(splits, Joint(), fusion), first_batch(splits, 7)
    trainer._num_rows = len(batch.labels)
    outputs = trainer.forward(batch.inputs)
    return outputs.logits["fused"], outputs.features, contributions(trainer, outputs.features), trainer.model.fusion


@pytest.mark.parametrize("name", FUSIONS)
def test_a_contribution_is_the_slow_one(name: str, splits: Splits) -> None:
    _, features, given, fusion = found(splits, FUSIONS[name])
    assert list(given) == list(features)
    number = len(features)
    for modality, logits in given.items():
        assert not logits.requires_grad
        for row in range(7):
            alone = {
                other: values[row : row + 1] if other == modality else 0 * values[row : row + 1]
                for other, values in features.items()
            }
            nothing = {other: 0 * values[row : row + 1] for other, values in features.items()}
            expected = fusion(alone) - fusion(nothing) + fusion(nothing) / number
            assert torch.allclose(logits[row], expected[0], atol=1e-6)


def test_those_of_a_concatenation_are_its_weights_split_by_hand_and_add_up(splits: Splits) -> None:
    fused, features, given, fusion = found(splits, Concat())
    start = 0
    for modality, values in features.items():
        part = fusion.weight[:, start : start + values.shape[1]]
        start += values.shape[1]
        assert torch.allclose(given[modality], values @ part.T + fusion.bias / len(features), atol=1e-6)
    assert torch.allclose(torch.stack(list(given.values())).sum(dim=0), fused, atol=1e-6)


@pytest.mark.parametrize("logit", [1e3, 1e6, 1e30])
def test_a_modality_that_is_surely_wrong_leads_nobody(logit: float) -> None:
    labels = torch.zeros(5, dtype=torch.int64)
    wrong = torch.tensor([[0.0, logit]]).expand(5, 2)
    found = leads({"wrong": wrong, "right": -wrong, "other": -wrong}, labels)
    assert found["wrong"] == 0
    assert found["right"] == pytest.approx(2)
    alone = leads({"wrong": wrong, "right": -wrong}, labels)
    assert (alone["wrong"], alone["right"]) == (0, float("inf"))


@pytest.mark.parametrize("number", [2, 3, 6])
def test_leads_are_the_slow_ones(number: int) -> None:
    torch.manual_seed(0)
    logits = {f"m{modality}": 3 * torch.randn(9, 4) for modality in range(number)}
    labels = torch.randint(4, (9,))
    sums = {}
    for name, values in logits.items():
        sums[name] = 0.0
        for row, label in zip(values.double(), labels, strict=True):
            sums[name] += float(row[label].exp() / row.exp().sum())
    ratios = leads(logits, labels)
    for name, own in sums.items():
        others = [value for other, value in sums.items() if other != name]
        assert ratios[name] == pytest.approx(own / (sum(others) / len(others)), rel=1e-5)
    if number == 2:
        assert ratios["m0"] == pytest.approx(1 / ratios["m1"])
    assert min(ratios.values()) < 1 < max(ratios.values())
