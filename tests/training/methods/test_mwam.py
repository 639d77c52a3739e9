"""MWAM against its equations."""

from math import cos, exp, pi, sqrt
from typing import Any

import pytest
import torch

from bss.params import Params
from bss.parsing import read_mapping
from bss.training.methods.joint import Joint
from bss.training.methods.mwam import MWAM, frequency_ratios
from tests.helpers import ROOT
from tests.helpers.gaps import with_gaps
from tests.helpers.steps import (
    Splits,
    assert_close,
    assert_same,
    first_batch,
    gradients,
    slow_gradients,
    small_trainer,
    trained_weights,
)

SMALL: dict[str, Any] = {"patch": 4, "block": 1}


def slow_transform(square: list[list[float]]) -> list[list[float]]:
    """The sum over both axes, frequency by frequency."""
    side = len(square)
    found = [[0.0] * side for _ in range(side)]
    for k in range(side):
        for m in range(side):
            scale = (sqrt(1 / side) if k == 0 else sqrt(2 / side)) * (sqrt(1 / side) if m == 0 else sqrt(2 / side))
            for row in range(side):
                for column in range(side):
                    wave = cos(pi * (row + 0.5) * k / side) * cos(pi * (column + 0.5) * m / side)
                    found[k][m] += scale * square[row][column] * wave
    return found


def slow_ratio(sample: list[Any], patch: int, block: int) -> float:
    """The mean over channels, squares and places of a block."""
    ratios = []
    for channel in sample:
        for top in range(0, len(channel) - patch + 1, patch):
            for left in range(0, len(channel[0]) - patch + 1, patch):
                square = slow_transform([line[left : left + patch] for line in channel[top : top + patch]])
                for k in range(block):
                    for m in range(block):
                        ratios.append(abs(square[k][m] / (square[patch - 1 - k][patch - 1 - m] + 1e-6)))
    return sum(ratios) / len(ratios)


def test_the_golden_patches() -> None:
    assert slow_transform([[4.0, 1.0], [2.0, 3.0]])[0] == pytest.approx([5, 1])
    assert slow_transform([[4.0, 1.0], [2.0, 3.0]])[1] == pytest.approx([0, 2])
    small = torch.tensor([[[[4.0, 1.0], [2.0, 3.0]]]])
    assert float(frequency_ratios(small, 2, 1)) == pytest.approx(2.499999, abs=1e-6)
    large = torch.tensor([[[[(8 * row + column) % 7 + 1 for column in range(8)] for row in range(8)]]]).float()
    assert 4 * float(frequency_ratios(large, 8, 2)) == pytest.approx(12.596442, rel=1e-6), "the sum of four places"


@pytest.mark.parametrize(("shape", "patch", "block"), [((2, 9, 7), 4, 2), ((1, 6, 6), 3, 1), ((3, 2, 5, 4), 2, 1)])
def test_ratios_equal_their_slow_reference(shape: tuple[int, ...], patch: int, block: int) -> None:
    maps = torch.randn(3, *shape, generator=torch.Generator().manual_seed(0))
    found = frequency_ratios(maps, patch, block)
    for sample, ratio in zip(maps.flatten(1, -3), found, strict=True):
        assert float(ratio) == pytest.approx(slow_ratio(sample.tolist(), patch, block), rel=1e-4)


@pytest.mark.parametrize("value", [0.0, 1.0, -1e4])
def test_maps_of_one_value_have_a_finite_ratio(value: float) -> None:
    assert frequency_ratios(torch.full((2, 1, 8, 8), value), 8, 2).isfinite().all()


def slow_weights(ratios: list[float], alpha: float, beta: float, gamma: float, slope: float) -> list[float]:
    mean = sum(ratios) / len(ratios)
    return [alpha - beta / (1 + exp(-slope * (ratio / mean - gamma))) for ratio in ratios]


def test_the_golden_weights() -> None:
    ratios = {"m0": 2.5, "m1": 7.5}
    assert list(MWAM().weights(ratios, ratios).values()) == pytest.approx([1.268525, 0.508163], abs=1e-6)
    other = MWAM(slope=10, gamma=1).weights(ratios, ratios)
    assert list(other.values()) == pytest.approx([1.493307, 0.506693], abs=1e-6)
    second = MWAM().weights({"m0": 3.5, "m1": 5.5}, {"m0": 3.0, "m1": 6.5})
    assert list(second.values()) == pytest.approx([1.101214, 0.517801], abs=1e-6)
    released = MWAM(variant="released")
    first = released.weights(ratios, {"m0": 1.25, "m1": 3.75})
    assert list(first.values()) == pytest.approx([1.000001, 0.5], abs=2e-6)
    second = released.weights({"m0": 3.5, "m1": 5.5}, {"m0": 2.375, "m1": 4.625})
    assert list(second.values()) == pytest.approx([1.000001, 0.503288], abs=2e-6)
    three = {"m0": 1.0, "m1": 2.0, "m2": 9.0}
    expected = slow_weights([1.0, 2.0, 9.0], 1.2, 0.7, 0.9, 3.0)
    found = MWAM(alpha=1.2, beta=0.7, gamma=0.9, slope=3).weights(three, three)
    assert list(found.values()) == pytest.approx(expected, abs=1e-5)
    assert all(0.4 < weight < 1.6 for weight in MWAM(slope=1e9).weights(three, three).values())


@pytest.mark.parametrize("modulates", ["gradients", "loss", "both"])
@pytest.mark.parametrize("variant", ["published", "released"])
def test_two_steps_are_the_slow_ones(splits: Splits, variant: Any, modulates: Any) -> None:
    given = {"gamma": 0.8, "slope": 2.0, "fused_weight": 0.7, "unimodal_weight": 0.3}
    method = MWAM(variant=variant, modulates=modulates, **given, **SMALL)
    trainer, batch = small_trainer(splits, method), first_batch(splits)
    names, banks = list(trainer.model.branches), []
    steps = [batch, batch._replace(inputs={name: values.flip(0) // 2 for name, values in batch.inputs.items()})]
    for number, each in enumerate(steps):
        ratios = []
        for name in names:
            branch = trainer.model.branch(name)
            values = (each.inputs[name].double() - branch.mean) / branch.std
            ratios.append(sum(slow_ratio(sample, 4, 1) for sample in values.tolist()) / len(values))
        if number == 0:
            banks = [ratio / 2 for ratio in ratios] if variant == "released" else ratios
        else:
            banks = [bank / 2 + ratio / 2 for bank, ratio in zip(banks, ratios, strict=True)]
        own = ratios if variant == "released" else banks
        k = {
            name: 1.5 - 1 / (1 + exp(-2 * (value * len(banks) / sum(banks) - 0.8)))
            for name, value in zip(names, own, strict=True)
        }
        total: dict[str, Any] = {}
        model = small_trainer(splits, Joint()).model
        for output in [*names, "fused"]:
            weight = 0.7 if output == "fused" else 0.3 * (1.0 if modulates == "gradients" else k[output])
            for name, gradient in slow_gradients(model, each, output).items():
                total[name] = total.get(name, 0) + weight * gradient
        scaled = {
            name: gradient * (k[name.split(".")[1]] if modulates != "loss" and ".encoder." in name else 1)
            for name, gradient in total.items()
        }
        assert_close(gradients(trainer, each), scaled)
        assert max(k.values()) - min(k.values()) > 0.01


def test_without_beta_it_is_joint(splits: Splits) -> None:
    joint = trained_weights(splits, Joint())
    assert_same(trained_weights(splits, MWAM(alpha=1, beta=0, **SMALL)), joint)
    assert not torch.equal(trained_weights(splits, MWAM(**SMALL))["fusion.weight"], joint["fusion.weight"])


def test_left_out_settings_are_those_of_the_variant(splits: Splits) -> None:
    assert_same(
        trained_weights(splits, MWAM(variant="released", **SMALL)),
        trained_weights(splits, MWAM(variant="released", modulates="gradients", gamma=1, slope=10, **SMALL)),
    )


def test_absent_samples_have_no_spectrum(splits: Splits) -> None:
    batch = first_batch(splits)
    found = []
    for rows, value in (([1, 2], 0), ([1, 2], 9)):
        trainer = small_trainer(splits, MWAM(**SMALL))
        gappy = with_gaps(batch, m0=rows)
        gappy.inputs["m0"][rows] = value
        gradients(trainer, gappy)
        found.append(trainer.memory["bank of m0"])
    values = (batch.inputs["m0"].float() - trainer.model.branch("m0").mean) / trainer.model.branch("m0").std
    kept = [row for row in range(16) if row not in {1, 2}]
    assert found[0] == found[1] == frequency_ratios(values, 4, 1)[kept].mean()
    trainer = small_trainer(splits, MWAM(**SMALL))
    given = gradients(trainer, with_gaps(batch, m0=list(range(16))))
    assert all(gradient.isfinite().all() for gradient in given.values())
    assert "bank of m0" not in trainer.memory, "the batch shows nothing of it"


@pytest.mark.parametrize(
    ("shapes", "counts"),
    [
        ({"audio": (1, 129, 80), "video": (3, 4, 32, 32)}, True),
        ({"audio": (1, 129, 80), "text": (40,), "image": (3, 8, 8)}, True),
        ({"audio": (1, 129, 80), "text": (40,)}, False),
        ({"sensor": (50, 12), "image": (3, 32, 32)}, False),
        ({"audio": (1, 129, 80), "image": (3, 7, 32)}, False),
    ],
)
def test_it_needs_two_spectra(shapes: dict[str, tuple[int, ...]], counts: bool) -> None:
    if counts:
        MWAM().check_shapes(shapes)
        return
    with pytest.raises(ValueError, match=r"two modalities or more: .* at least 8 x 8 .*here are \w+ \("):
        MWAM().check_shapes(shapes)


def test_data_without_spectra_are_refused_with_the_parameters() -> None:
    raw = read_mapping(ROOT / "params.yaml")
    kinds = {"a": {"name": "features", "size": 3}, "b": {"name": "features", "size": 4}}
    raw["preprocess"] = {"name": "manifest", "file": f"{raw['raw']}/table.csv", "kinds": kinds}
    raw["encoders"], raw["augment"] = {}, {}
    Params(**raw)
    with pytest.raises(
        ValueError, match=r"grid\.methods: 'mwam' cannot be used with these data: .*a \(3,\), b \(4,\)"
    ):
        Params(**raw | {"grid": raw["grid"] | {"methods": ["joint", "mwam"]}})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"block": 5}, "two corners do not fit a patch of 8"), ({"beta": 2}, "weights would be negative"),
        ({"modulates": "head"}, "modulates"), ({"patch": 1}, "patch"), ({"gama": 1}, "did you mean 'gamma'"),
    ],
)  # fmt: skip
def test_wrong_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MWAM(**settings)
