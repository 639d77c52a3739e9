"""Shapley values of the modalities in the fused prediction."""

from itertools import combinations, permutations

import pytest
import torch
from torch import Tensor, nn

from bss.encoders.mlp import MLP
from bss.measure.shapley import shapley_values
from bss.model import MultimodalModel, build_model
from bss.training import shapley
from bss.training.runtime import Runtime
from bss.types import Split
from tests.helpers.toy import SETTINGS, packed_toy


def values_of(**given: float) -> dict[frozenset[str], Tensor]:
    """Letters of the modalities -> v."""
    return {frozenset(some.strip("_")): torch.tensor(value, dtype=torch.float64) for some, value in given.items()}


def test_two_and_three_modalities_by_hand() -> None:
    two = shapley_values(values_of(_=0.1, a=0.6, v=0.3, av=0.7))
    assert {name: float(phi) for name, phi in two.items()} == pytest.approx({"a": 0.45, "v": 0.15})
    found = shapley.shares(two)
    assert found == pytest.approx({"a": 0.75, "v": 0.25})
    assert found is not None
    assert shapley.equilibrium_deviation(found) == pytest.approx(0.25)
    three = shapley_values(values_of(_=0, a=0.5, v=0.2, t=0.4, av=0.6, at=0.7, vt=0.5, avt=0.8))
    expected = {"a": 0.383333, "v": 0.133333, "t": 0.283333}
    assert {name: float(phi) for name, phi in three.items()} == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("number", [2, 3, 6])
def test_they_are_the_mean_gain_over_all_orders(number: int) -> None:
    draws = torch.Generator().manual_seed(number)
    names = [f"m{place}" for place in range(number)]
    subsets = [frozenset(some) for size in range(number + 1) for some in combinations(names, size)]
    values = {some: torch.rand((), generator=draws, dtype=torch.float64) for some in subsets}
    found = shapley_values(values)
    orders = list(permutations(names))
    for name in names:
        gains = [
            float(values[frozenset(order[: order.index(name) + 1])] - values[frozenset(order[: order.index(name)])])
            for order in orders
        ]
        assert float(found[name]) == pytest.approx(sum(gains) / len(gains), abs=1e-12)
    assert float(sum(found.values())) == pytest.approx(float(values[frozenset(names)] - values[frozenset()]))


def test_shares_and_their_deviation() -> None:
    negative = {"a": torch.tensor(0.2), "b": torch.tensor(-0.4), "c": torch.tensor(0.2)}
    assert shapley.shares(negative) == pytest.approx({"a": 0.5, "b": 0, "c": 0.5})
    assert shapley.shares({"a": torch.tensor(0.0), "b": torch.tensor(-1.0)}) is None
    assert shapley.equilibrium_deviation({"a": 0.25, "b": 0.25, "c": 0.25, "d": 0.25}) == 0
    for number in (2, 3, 6):
        alone = {str(place): float(place == 0) for place in range(number)}
        assert shapley.equilibrium_deviation(alone) == pytest.approx(2 * (number - 1) / number**2)


class Shown(nn.Module):
    """Logits that tell which modalities were shown; dropout, which eval mode leaves out."""

    def __init__(self) -> None:
        super().__init__()
        self.chance = nn.Dropout(0.9)

    def forward(self, features: dict[str, Tensor]) -> Tensor:
        logits: Tensor = self.chance(torch.cat([2 * features["a"], features["v"]], dim=1))
        return logits


def test_the_confidence_of_a_set_is_of_its_features_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """In blocks as well, and in eval mode; the fusion is in training mode again afterwards."""
    features, labels = {"a": torch.tensor([[1.0], [2], [3]]), "v": torch.ones(3, 1)}, torch.tensor([0, 0, 1])
    fusion, runtime = Shown().train(), Runtime.start(SETTINGS)
    expected = {}
    for some in (set(), {"a"}, {"v"}, {"a", "v"}):
        rows = [[2 * a * ("a" in some), 1.0 * ("v" in some)] for a in (1, 2, 3)]
        p = torch.tensor(rows).double().softmax(dim=1)
        expected[frozenset(some)] = float(p[torch.arange(3), labels].mean())
    for block in (4096, 2):
        monkeypatch.setattr(shapley, "ROWS", block)
        found = shapley.mean_confidences(fusion, features, labels, runtime)
        assert {some: float(value) for some, value in found.items()} == pytest.approx(expected)
        assert fusion.training


def test_a_fusion_that_cannot_be_asked_is_refused(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    def model(number: int) -> MultimodalModel:
        meta = packed_toy(tmp_path_factory.mktemp("toy"), number)[Split.TRAIN].meta
        return build_model(meta, {name: MLP(width=4) for name in meta.modalities}, 0)

    runtime = Runtime.start(SETTINGS)
    two = model(2)
    assert shapley.fusion_of(two, runtime, "mine") is two.fusion
    with pytest.raises(ValueError, match="mine values all sets of 8 modalities at most; here are 9"):
        shapley.fusion_of(model(9), runtime, "mine")
    monkeypatch.setattr(Runtime, "is_sharded", property(lambda runtime: True))
    with pytest.raises(ValueError, match="mine asks the fusion alone, which needs ddp, not fsdp"):
        shapley.fusion_of(two, runtime, "mine")
