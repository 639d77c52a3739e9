"""OGM against its equations."""

from math import tanh
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from bss.encoders.mlp import MLP
from bss.model import MultimodalModel
from bss.training.loader import Batch
from bss.training.methods.joint import Joint
from bss.training.methods.ogm import OGM
from tests.helpers.steps import (
    Splits,
    assert_close,
    assert_same,
    first_batch,
    gradients,
    slow_gradients,
    small_trainer,
    trained_weights,
)  # fmt: skip
from tests.helpers.toy import packed_toy


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Splits:
    return packed_toy(tmp_path_factory.mktemp("toy"))


def slow_ratios(model: MultimodalModel, batch: Batch) -> dict[str, float]:
    """The weights of a concatenation split by hand, and a loop over samples."""
    with torch.no_grad():
        features = model(batch.inputs).features
    sums, start = {}, 0
    for name, values in features.items():
        part = model.fusion.weight.detach()[:, start : start + values.shape[1]]
        start += values.shape[1]
        total = 0.0
        for row, label in zip(values, batch.labels, strict=True):
            scores = (part @ row + model.fusion.bias.detach() / len(features)).exp()
            total += float(scores[label] / scores.sum())
        sums[name] = total
    ratios = {}
    for name, own in sums.items():
        others = [value for other, value in sums.items() if other != name]
        ratios[name] = own / (sum(others) / len(others))
    return ratios


def slow_ogm(splits: Splits, alpha: float) -> tuple[dict[str, Tensor], dict[str, float]]:
    model, batch = small_trainer(splits, Joint()).model, first_batch(splits)
    total: dict[str, Tensor] = {}
    for output in [*model.branches, "fused"]:
        for name, gradient in slow_gradients(model, batch, output).items():
            total[name] = total.get(name, 0) + gradient
    ratios = slow_ratios(model, batch)
    for modality, ratio in ratios.items():
        for name, gradient in total.items():
            if ratio > 1 and name.startswith(f"branches.{modality}.encoder."):
                total[name] = gradient * (1 - tanh(alpha * ratio))
    return total, ratios


def test_a_step_is_the_slow_one(splits: Splits) -> None:
    expected, ratios = slow_ogm(splits, 0.8)
    assert any(ratio > 1.001 for ratio in ratios.values())
    assert any(ratio < 0.999 for ratio in ratios.values())
    assert_close(gradients(small_trainer(splits, OGM(alpha=0.8, ge=False)), first_batch(splits)), expected)


def test_without_scale_and_noise_it_is_joint(splits: Splits) -> None:
    joint = trained_weights(splits, Joint())
    assert_same(trained_weights(splits, OGM(alpha=0, ge=False)), joint)
    for other in (OGM(ge=False), OGM(alpha=0)):
        assert not torch.equal(trained_weights(splits, other)["fusion.weight"], joint["fusion.weight"])


def test_heads_and_fusion_follow_their_own_gradients(splits: Splits) -> None:
    batch = first_batch(splits)
    plain, modulated = (gradients(small_trainer(splits, method), batch) for method in (Joint(), OGM()))
    assert_same(plain, modulated, ".head.")
    assert_same(plain, modulated, "fusion.")


def test_the_noise_has_the_deviation_that_the_gradients_had_before(pair: Splits) -> None:
    batch, encoders = first_batch(pair), {name: MLP(width=128) for name in ("m0", "m1")}
    plain = gradients(small_trainer(pair, Joint(), encoders=encoders), batch)
    scaled, noisy = (
        gradients(small_trainer(pair, OGM(alpha=2, ge=ge), encoders=encoders), batch) for ge in (False, True)
    )
    changed = 0
    for modality in encoders:
        name = f"branches.{modality}.encoder.3.weight"
        noise = noisy[name] - scaled[name]
        assert noise.numel() == 128 * 128
        assert float(noise.std()) == pytest.approx(float(plain[name].std()), rel=0.03)
        assert abs(float(noise.mean())) < 4 * float(plain[name].std()) / 128
        changed += not torch.equal(plain[name], scaled[name])
    assert changed == 1, "one is scaled, and both have noise of the size before"
    assert float(torch.corrcoef(torch.stack([
        (noisy[name] - scaled[name]).flatten() for name in (f"branches.{m}.encoder.3.weight" for m in encoders)
    ]))[0, 1]) == pytest.approx(0, abs=0.05)  # fmt: skip


def test_at_a_tie_nobody_leads_and_the_code_scales_the_first(pair: Splits) -> None:
    batch, found = first_batch(pair), {}
    for name, method in {
        "plain": Joint(), "published": OGM(alpha=1, ge=False), "released": OGM(alpha=1, ge=False, variant="released"),
    }.items():  # fmt: skip
        trainer = small_trainer(pair, method, encoders={})
        with torch.no_grad():
            for weight in trainer.model.fusion.parameters():
                weight.zero_()  # the fusion owes nothing to anybody
        found[name] = gradients(trainer, batch)
    plain = found.pop("plain")
    changed = {
        variant: {name for name, values in of_all.items() if not torch.equal(values, plain[name])}
        for variant, of_all in found.items()
    }
    assert changed["published"] == set()
    assert changed["released"]
    assert all(name.startswith("branches.m0.encoder.") for name in changed["released"])


def test_released_touches_convolutions_alone(pair: Splits) -> None:
    batch = first_batch(pair)
    plain, published, released = (
        gradients(small_trainer(pair, method, encoders={}), batch)
        for method in (Joint(), OGM(alpha=1, ge=False), OGM(alpha=1, ge=False, variant="released"))
    )
    noisy = gradients(small_trainer(pair, OGM(variant="released"), encoders={}), batch)
    scaled = set()
    for name, gradient in plain.items():
        if ".encoder." not in name:
            continue
        if gradient.ndim == 4:
            assert torch.equal(released[name], published[name])
            assert not torch.equal(noisy[name], gradient)
            scaled |= set() if torch.equal(released[name], gradient) else {name.split(".")[1]}
        else:
            assert torch.equal(released[name], gradient)
            assert torch.equal(noisy[name], gradient)
    assert len(scaled) == 1
    [leader] = scaled
    assert any(
        gradient.ndim != 4 and not torch.equal(published[name], gradient)
        for name, gradient in plain.items()
        if name.startswith(f"branches.{leader}.encoder.")
    )


@pytest.mark.parametrize(
    ("starts", "ends", "modulated"), [(0, None, "0123"), (1, 3, "12"), (2, None, "23"), (0, 0, "")]
)
def test_it_modulates_within_its_window(pair: Splits, starts: int, ends: int | None, modulated: str) -> None:
    batch = first_batch(pair)
    plain = gradients(small_trainer(pair, Joint()), batch)
    found = ""
    for epoch in range(4):
        trainer = small_trainer(pair, OGM(starts=starts, ends=ends))
        trainer.epoch = epoch
        given = gradients(trainer, batch)
        found += "" if all(torch.equal(given[name], values) for name, values in plain.items()) else str(epoch)
    assert found == modulated


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"alpha": -1}, "alpha"), ({"variant": "original"}, "'published' or 'released'"), ({"starts": -1}, "starts"),
        ({"ends": 1.5}, "ends"), ({"alhpa": 1}, "did you mean 'alpha'"),
    ],
)  # fmt: skip
def test_wrong_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises((ValidationError, ValueError), match=message):
        OGM(**settings)
