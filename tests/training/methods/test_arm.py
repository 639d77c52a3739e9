"""ARM against its equations."""

from math import isfinite, log
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from bss.encoders.mlp import MLP
from bss.model import seeded
from bss.training.methods._information import (
    normalised_conditional_information,
    normalised_information,
    released_conditional_information,
    shares,
)
from bss.training.methods.arm import ARM
from bss.training.methods.joint import Joint
from tests.helpers.gaps import with_gaps
from tests.helpers.steps import (
    Splits,
    assert_close,
    assert_same,
    first_batch,
    gradients,
    small_trainer,
    trained_weights,
)

X, H, Z = ([0.0, 0, 1, 1, 1, 0], [0.0, 1, 1, 1, 1, 0], [0.0, 0, 1, 1, 0, 1])


def slow_shares(variables: list[list[float]], bins: int) -> dict[tuple[int, ...], float]:
    """Sample by sample, in a table of the cells that occur."""
    table: dict[tuple[int, ...], float] = {}
    for row in zip(*variables, strict=True):
        cell = []
        for value, variable in zip(row, variables, strict=True):
            low, high = min(variable), max(variable)
            cell.append(min(int((value - low) / (high - low) * bins), bins - 1) if high > low else 0)
        table[tuple(cell)] = table.get(tuple(cell), 0) + 1 / len(variables[0])
    return table


def over(table: dict[tuple[int, ...], float], *axes: int) -> dict[tuple[int, ...], float]:
    """The shares of some of the variables."""
    found: dict[tuple[int, ...], float] = {}
    for cell, share in table.items():
        kept = tuple(cell[axis] for axis in axes)
        found[kept] = found.get(kept, 0) + share
    return found


def slow_nmi(x: list[float], h: list[float], bins: int) -> float:
    table = slow_shares([x, h], bins)
    of_x, of_h = over(table, 0), over(table, 1)
    mutual = sum(p * log(p / (of_x[cell[:1]] * of_h[cell[1:]])) for cell, p in table.items())
    entropies = -sum(p * log(p) for p in [*of_x.values(), *of_h.values()])
    return 2 * mutual / entropies if entropies > 1e-10 else 0.0


def slow_ncmi(x: list[float], h: list[float], z: list[float], bins: int) -> float:
    table = slow_shares([x, h, z], bins)
    of_z, xz, hz = over(table, 2), over(table, 0, 2), over(table, 1, 2)
    mutual = sum(p * log(p * of_z[c[2:]] / (xz[c[0], c[2]] * hz[c[1], c[2]])) for c, p in table.items())
    entropies = -sum(p * log(p / of_z[cell[1:]]) for pairs in (xz, hz) for cell, p in pairs.items())
    return 2 * mutual / entropies if entropies > 1e-10 else 0.0


def slow_released(x: list[float], h: list[float], z: list[float], bins: int) -> float:
    """The released divisions: a table of two by each bin of z, one of three by the bin of its first variable."""
    table = slow_shares([x, h, z], bins)
    of_z = {place: over(table, 2).get((place,), 0) or 1e-10 for place in range(bins)}

    def surprise(values: list[float]) -> float:
        return -sum(value * log(value) for value in values)

    pairs = [
        surprise([p / of_z[place] for place in range(bins) for p in over(table, axis, 2).values()]) for axis in (0, 1)
    ]
    both = surprise([p / of_z[cell[0]] for cell, p in table.items()])
    return (sum(pairs) - both) / sum(pairs)


def test_the_golden_information() -> None:
    x, h, z = (torch.tensor(values) for values in (X, H, Z))
    assert normalised_information(x, h, 2) == pytest.approx(0.478704, abs=1e-6)
    assert normalised_conditional_information(x, h, z) == pytest.approx(0.637009, abs=1e-6)
    assert released_conditional_information(x, h, z) == pytest.approx(0.659252, abs=1e-6)


@pytest.mark.parametrize("bins", [2, 3, 30])
def test_information_equals_its_slow_reference(bins: int) -> None:
    generator = torch.Generator().manual_seed(bins)
    x, noise, z = torch.randn(3, 200, generator=generator, dtype=torch.float64)
    h = x + z + 0.3 * noise
    given = x.tolist(), h.tolist(), z.tolist()
    assert normalised_information(x, h, bins) == pytest.approx(slow_nmi(*given[:2], bins))
    assert normalised_conditional_information(x, h, z, bins) == pytest.approx(slow_ncmi(*given, bins))
    assert released_conditional_information(x, h, z, bins) == pytest.approx(slow_released(*given, bins))
    counts, *_ = np.histogram2d(x.numpy(), h.numpy(), bins=bins)
    assert np.allclose(shares([x, h], bins).numpy(), counts / 200)


def test_what_does_not_vary_has_no_information() -> None:
    one = torch.ones(6)
    assert normalised_conditional_information(one, one, one) == 0
    assert isfinite(released_conditional_information(one, one, one)), "though of a strange size"
    assert normalised_information(one, one) == 0
    assert normalised_information(one, torch.tensor(H)) == 0


def test_the_golden_scales(monkeypatch: pytest.MonkeyPatch) -> None:
    """The information is given; all else is the method's."""
    named = {0.0: (0.4, 0.1), 1.0: (0.3, 0.2)}  # audio, video
    module = "bss.training.methods._information"
    monkeypatch.setattr(f"{module}.normalised_information", lambda x, h: named[float(x[0])][0])
    monkeypatch.setattr(f"{module}.normalised_conditional_information", lambda x, h, z: named[float(x[0])][1])
    features = {"audio": torch.zeros(2, 1), "video": torch.ones(2, 1)}
    q = ARM().contributions({"fused": 0.6, "audio": 0.5, "video": 0.3}, features, torch.zeros(2, 1))
    assert q == pytest.approx({"audio": 0.33, "video": 0.23})
    for variant in ("published", "released"):
        found = ARM(variant=variant).scales(q)
        assert found == pytest.approx({"audio": 0.696970, "video": 1.434783}, abs=1e-6)


def test_scales_of_several_are_to_the_geometric_mean_of_the_others() -> None:
    found = ARM().scales({"a": 0.2, "b": 0.3, "c": 0.6})
    assert found == pytest.approx({"a": 0.18**0.5 / 0.2, "b": 0.12**0.5 / 0.3, "c": 0.06**0.5 / 0.6})
    assert ARM().scales({"a": -0.1, "b": 0.3}) == {"a": 10, "b": 0.1}, "limited"
    assert ARM(variant="released").scales({"a": -0.1, "b": 0.3}) == pytest.approx({"a": -3, "b": -1 / 3})
    assert ARM(variant="released").scales({"a": 0.0, "b": 0.3}) == {"a": 1000, "b": 0}


def slow_logits(model: Any, features: dict[str, Tensor], scales: dict[str, float]) -> Tensor:
    joined = torch.cat([features[name] * scales[name] for name in features], dim=1)
    head = next(iter(model.branches.values())).head
    logits: Tensor = (joined @ model.fusion.joined.weight.T + model.fusion.joined.bias) @ head.weight.T + head.bias
    return logits


@pytest.mark.parametrize("gap_weight", [0.0, 0.4])
@pytest.mark.parametrize("variant", ["published", "released"])
def test_a_step_is_the_slow_one(splits: Splits, variant: Any, gap_weight: float) -> None:
    method = ARM(variant=variant, gap_weight=gap_weight, fused_weight=0.7, unimodal_weight=0.3)
    encoders = {name: MLP(width=8) for name in ("m0", "m1", "m2")[: len(splits["train"].meta.modalities)]}  # type: ignore[index]
    trainer, batch = small_trainer(splits, method, encoders=encoders), first_batch(splits)
    model = trainer.model
    model.train()
    logits, features = model(batch.inputs)
    names, ones = list(features), dict.fromkeys(features, 1.0)
    head = model.branch(names[0]).head
    with torch.no_grad():
        if variant == "released":
            h = torch.cat(list(features.values()), dim=1) @ model.fusion.first_weight.T + model.fusion.first_bias
            logits["fused"] = h @ head.weight.T + head.bias
        else:
            h = torch.cat(list(features.values()), dim=1) @ model.fusion.joined.weight.T + model.fusion.joined.bias
            logits["fused"] = slow_logits(model, features, ones)
    sure = {}
    for name, values in logits.items():
        of_samples = values.detach().softmax(dim=1).tolist()
        sure[name] = sum(row[label] for row, label in zip(of_samples, batch.labels.tolist(), strict=True)) / 16
    flat = {name: values.detach().flatten().double().tolist() for name, values in features.items()}
    fused = h.flatten().double().tolist()
    q = {}
    for name in names:
        others = [other for other in names if other != name]
        rest = torch.stack([features[other].detach() for other in others]).mean(dim=0).flatten().double().tolist()
        conditional = (slow_released if variant == "released" else slow_ncmi)(flat[name], fused, rest, 2)
        own = slow_nmi(flat[name], fused, 30)
        q[name] = sure["fused"] * own + sum(sure[other] for other in others) / len(others) * (own - conditional)
    scales = method.scales(q)
    assert max(abs(scale - 1) for scale in scales.values()) > 0.01
    loss = 0.7 * cross_entropy(slow_logits(model, features, scales), batch.labels)
    loss = loss + 0.3 * sum(cross_entropy(head(features[name]), batch.labels) for name in names)
    if gap_weight:
        losses = [cross_entropy(slow_logits(model, features, {**scales, name: 0.0}), batch.labels) for name in names]
        loss = loss + gap_weight * (max(losses) - min(losses))
    weights = dict(model.named_parameters())
    taken = torch.autograd.grad(loss, list(weights.values()))
    assert_close(gradients(trainer, batch), dict(zip(weights, taken, strict=True)))
    kept = [0.9 + 0.1 * scales[name] for name in names]
    assert model.fusion.scales.tolist() == pytest.approx(kept, rel=1e-4), "what evaluation takes"


def test_evaluation_takes_the_running_mean_and_no_labels(splits: Splits) -> None:
    trainer, batch = small_trainer(splits, ARM()), first_batch(splits)
    scales = torch.arange(1.0, 1 + len(trainer.model.branches))
    trainer.model.fusion.scales = scales
    with torch.no_grad():
        logits, features = trainer.model.eval()(batch.inputs)
        by_hand = slow_logits(trainer.model, features, dict(zip(features, scales.tolist(), strict=True)))
    assert torch.allclose(logits["fused"], by_hand, atol=1e-5)


def test_with_a_bound_of_one_it_is_joint_with_that_fusion(splits: Splits) -> None:
    class Unscaled(Joint):
        def prepare(self, model: Any) -> None:
            with seeded(0, "weights of arm"):
                ARM().prepare(model)

    assert_same(trained_weights(splits, ARM(bound=1)), trained_weights(splits, Unscaled()))


def test_pairs_that_lack_a_modality_are_not_measured(splits: Splits) -> None:
    batch, found = first_batch(splits), []
    for value in (0, 9):
        method = ARM()
        trainer = small_trainer(splits, method, encoders={})
        gappy = with_gaps(batch, m0=[1, 2])
        gappy.inputs["m1"][[1, 2]] = value
        trainer.model.eval()  # batch statistics would carry the rows into the others
        outputs = trainer.model(gappy.inputs)
        trainer._num_rows = 16
        found.append(method._scales(trainer, outputs, gappy))
    assert torch.equal(*found)
    trainer = small_trainer(splits, ARM())
    given = gradients(trainer, with_gaps(batch, m0=list(range(16))))
    assert all(values.isfinite().all() for values in given.values())
    assert torch.equal(trainer.model.fusion.scales, torch.ones(len(trainer.model.branches)))


@pytest.mark.parametrize(("settings", "message"), [({"bound": 0.5}, "bound"), ({"gap_weight": -1}, "gap_weight")])
def test_wrong_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ARM(**settings)
