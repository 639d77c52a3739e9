"""OPM against its equations."""

from collections.abc import Mapping
from math import tanh
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor
from torch.nn.functional import cross_entropy

from bss.encoders.fusions.attention import Attention
from bss.encoders.fusions.concat import Concat
from bss.encoders.fusions.fusion import Fusion
from bss.training.loader import Batch
from bss.training.methods.joint import Joint
from bss.training.methods.opm import OPM
from bss.training.trainer import Trainer
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
from tests.helpers.toy import packed_toy
from tests.training.methods.test_ogm import slow_ratios


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Splits:
    return packed_toy(tmp_path_factory.mktemp("toy"))


def spied(splits: Splits, method: OPM) -> tuple[Trainer, list[dict[str, Tensor]]]:
    """A trainer, and what its fusion will be given to learn from."""
    trainer, given = small_trainer(splits, method), []
    fuse = trainer.fuse

    def watched(features: Mapping[str, Tensor]) -> Tensor:
        if torch.is_grad_enabled():
            given.append({name: values.detach() for name, values in features.items()})
        return fuse(features)

    trainer.fuse = watched  # type: ignore[method-assign]
    return trainer, given


def slow_probability(ratio: float, q_base: float, scale: float) -> float:
    if ratio <= 1:
        return 0.0
    return min(max(q_base * (1 + scale * tanh(max(ratio - 1, 0))), 0), 1)


def test_a_step_is_the_slow_one(splits: Splits) -> None:
    """The masks are read off from what the fusion was given; all else is computed anew."""
    q_base, scale, batch = 0.4, 2.0, first_batch(splits)
    trainer, given = spied(splits, OPM(q_base=q_base, scale=scale, p_exe=1, fused_weight=0.7, unimodal_weight=0.3))
    found = gradients(trainer, batch)
    [dropped] = given

    model = small_trainer(splits, Joint()).model
    q = {name: slow_probability(ratio, q_base, scale) for name, ratio in slow_ratios(model, batch).items()}
    logits, features = model(batch.inputs)
    widths = {name: values.shape[1] for name, values in features.items()}
    theta = sum(widths[name] * q[name] for name in q) / sum(widths.values())
    masks = {}
    for name, values in features.items():
        masks[name] = torch.tensor([bool(row.any()) for row in dropped[name]])
        if q[name] == 0:
            assert masks[name].all(), f"{name} does not lead"
        else:
            assert not masks[name].all()
            assert masks[name].any()
        assert torch.allclose(dropped[name], values.detach() * masks[name][:, None] / (1 - theta), atol=1e-6)
    total = torch.zeros(())
    for row, label in enumerate(batch.labels):
        joined = torch.cat([values[row] * masks[name][row] / (1 - theta) for name, values in features.items()])
        total = total - (model.fusion.weight @ joined + model.fusion.bias).log_softmax(dim=0)[label]
    loss = 0.7 * total / len(batch.labels)
    for name in features:
        loss = loss + 0.3 * cross_entropy(logits[name], batch.labels)
    loss.backward()
    assert_close(found, {name: weight.grad for name, weight in model.named_parameters() if weight.grad is not None})


def test_the_probabilities_are_those_of_the_equation() -> None:
    leads = {"a": 0.5, "b": 1.0, "c": 1.3, "d": 4.0}
    for q_base, scale in ((0.5, 0.5), (0.4, 0), (0.9, 3)):
        q = OPM(q_base=q_base, scale=scale).probabilities(leads)
        for name, ratio in leads.items():
            assert q[name] == pytest.approx(slow_probability(ratio, q_base, scale))
    assert OPM(q_base=0.9, scale=3).probabilities(leads)["d"] == 1


def dropping(monkeypatch: pytest.MonkeyPatch, **q: float) -> None:
    monkeypatch.setattr(OPM, "probabilities", lambda self, leads: q)


def losses(trainer: Trainer, batch: Batch, steps: int) -> list[Tensor | None]:
    """The loss of a batch in each of some steps; the weights stay."""
    method, found = trainer.method, []
    trainer._num_rows = len(batch.labels)
    outputs = trainer.forward(batch.inputs)
    assert isinstance(method, OPM)
    for trainer.num_steps in range(steps):
        found.append(method._dropped_loss(trainer, outputs, batch.labels))
    return found


def test_samples_are_dropped_as_often_as_they_should(pair: Splits, monkeypatch: pytest.MonkeyPatch) -> None:
    dropping(monkeypatch, m0=0.3, m1=0.6)
    trainer, given = spied(pair, OPM(p_exe=0.7))
    found = losses(trainer, first_batch(pair, 96), 300)
    executed = sum(loss is not None for loss in found)
    assert executed == len(given)
    assert executed / 300 == pytest.approx(0.7, abs=0.1)
    there = {name: torch.stack([(each[name] != 0).any(dim=1) for each in given]).float() for name in ("m0", "m1")}
    assert float(there["m0"].mean()) == pytest.approx(0.7, abs=0.02)
    assert float(there["m1"].mean()) == pytest.approx(0.4, abs=0.02)
    both = float((there["m0"] * there["m1"]).mean())
    assert both == pytest.approx(0.28, abs=0.02), "each modality is drawn by itself"
    assert len({tuple(row.tolist()) for row in there["m0"]}) == executed, "every step draws anew"


@pytest.mark.parametrize(("q", "absent"), [({"m0": 0.6, "m1": 0.6}, []), ({"m0": 0.0, "m1": 0.6}, list(range(8)))])
def test_a_sample_of_which_nothing_stays_is_left_out(
    pair: Splits, monkeypatch: pytest.MonkeyPatch, q: dict[str, float], absent: list[int]
) -> None:
    dropping(monkeypatch, **q)
    trainer, given = spied(pair, OPM(p_exe=1, unimodal_weight=0))
    batch = with_gaps(first_batch(pair), m0=absent)
    [loss] = losses(trainer, batch, 1)
    [dropped] = given
    kept = [row for row in range(16) if dropped["m0"][row].any() or dropped["m1"][row].any()]
    assert 0 < len(kept) < 16
    assert trainer.model.fusion is not None
    logits = trainer.model.fusion({name: values[kept] for name, values in dropped.items()})
    assert float(loss.detach()) == pytest.approx(float(cross_entropy(logits.detach(), batch.labels[kept])), rel=1e-5)


def test_nothing_is_learned_from_a_batch_that_is_dropped_as_a_whole(
    pair: Splits, monkeypatch: pytest.MonkeyPatch
) -> None:
    dropping(monkeypatch, m0=1 - 1e-6, m1=1 - 1e-6)
    found = gradients(small_trainer(pair, OPM(p_exe=1, unimodal_weight=0)), first_batch(pair))
    assert all(not gradient.any() for gradient in found.values())
    dropping(monkeypatch, m0=1.0, m1=1.0)
    joint = gradients(small_trainer(pair, Joint()), first_batch(pair))
    assert_same(gradients(small_trainer(pair, OPM(p_exe=1)), first_batch(pair)), joint)


@pytest.mark.parametrize("method", [OPM(q_base=0), OPM(p_exe=0), OPM(ends=0)])
def test_without_drops_it_is_joint(splits: Splits, method: OPM) -> None:
    joint = trained_weights(splits, Joint())
    assert_same(trained_weights(splits, method), joint)
    assert not torch.equal(trained_weights(splits, OPM())["fusion.weight"], joint["fusion.weight"])


def test_the_evidence_is_that_of_all_features(pair: Splits) -> None:
    batch = first_batch(pair)
    plain, modulated = small_trainer(pair, Joint()), small_trainer(pair, OPM(p_exe=1))
    logits_of = [trainer._step(batch).logits for trainer in (plain, modulated)]
    for name, logits in logits_of[0].items():
        assert torch.equal(logits, logits_of[1][name])
    assert not torch.equal(plain.model.fusion.weight, modulated.model.fusion.weight)


@pytest.mark.parametrize("fusion", [Concat(), Attention(width=8)], ids=lambda fusion: str(fusion.name))
def test_the_unimodal_losses_are_those_of_joint(pair: Splits, fusion: Fusion) -> None:
    batch = first_batch(pair)
    plain, modulated = (
        gradients(small_trainer(pair, method, fusion), batch) for method in (Joint(), OPM(p_exe=1, q_base=0.9))
    )
    for name, gradient in plain.items():
        if name.startswith("branches.") and ".head." in name:
            assert torch.equal(gradient, modulated[name])
    assert any(not torch.equal(gradient, modulated[name]) for name, gradient in plain.items())


def test_it_modulates_within_its_window(pair: Splits) -> None:
    batch = first_batch(pair)
    plain = gradients(small_trainer(pair, Joint()), batch)
    found = []
    for epoch in range(4):
        trainer = small_trainer(pair, OPM(p_exe=1, starts=1, ends=3))
        trainer.epoch = epoch
        given = gradients(trainer, batch)
        found += [] if all(torch.equal(given[name], values) for name, values in plain.items()) else [epoch]
    assert found == [1, 2]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"q_base": 1.1}, "q_base"), ({"p_exe": -0.1}, "p_exe"), ({"scale": -1}, "scale"), ({"ends": -1}, "ends"),
        ({"lambda": 0.5}, "unknown key 'lambda'"),
        ({"fused_weight": 0.0, "unimodal_weight": 0.0}, "nothing would be trained"),
    ],
)  # fmt: skip
def test_wrong_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises((ValidationError, ValueError), match=message):
        OPM(**settings)
