"""Gradient blending."""

from typing import Any

import pytest
import torch
from torch import Tensor

from bss.measure.evidence import Evidence
from bss.model import build_model
from bss.training import weights
from bss.training.loop import split_evidence
from bss.training.methods._copies import copies_asked, restart_copies
from bss.training.methods._measured import accuracies, mean_losses
from bss.training.methods.gradient_blending import GradientBlending, blending_weights
from bss.training.methods.joint import Joint
from bss.training.methods.unimodal import Unimodal
from bss.training.trainer import Trainer
from bss.types import FUSED, Split
from tests.helpers.steps import Splits, assert_same, first_batch, gradients, small_trainer
from tests.helpers.toy import TRAIN


def evidence_of(trainer: Trainer, splits: Splits, split: Split) -> Evidence:
    return split_evidence(trainer.module, splits[split], 16, trainer.runtime)


def slow_weights(before: list[list[float]], after: list[list[float]]) -> list[float]:
    """Output by output; the losses of training first."""
    raw = []
    for train, held, train_after, held_after in zip(*before, *after, strict=True):
        generalised, overfitted = held - held_after, (held_after - train_after) - (held - train)
        raw.append(max(generalised, 0.0) / max(overfitted**2, 1e-8))
    return [value / sum(raw) if sum(raw) else 1 / len(raw) for value in raw]


def test_weights_by_hand() -> None:
    before = torch.tensor([[1.8, 1.8, 1.8], [1.8, 1.82, 1.81]]).double()
    after = torch.tensor([[0.6, 1.0, 0.3], [1.2, 1.5, 1.1]]).double()
    assert blending_weights(before, after).tolist() == pytest.approx([0.397470, 0.331225, 0.271306], abs=1e-6)


@pytest.mark.parametrize("number", [3, 4, 7])
def test_weights_equal_their_slow_reference(number: int) -> None:
    before, after = 2 * torch.rand(2, 2, number, generator=torch.Generator().manual_seed(number)).double()
    found = blending_weights(before, after).tolist()
    assert found == pytest.approx(slow_weights(before.tolist(), after.tolist()))
    assert sum(found) == pytest.approx(1)


def test_what_learned_nothing_weighs_nothing_and_all_alike_where_none_did() -> None:
    before = torch.ones(2, 3).double()
    after = torch.tensor([[0.5, 1, 1], [0.5, 1, 2]]).double()
    assert blending_weights(before, after).tolist() == [1, 0, 0]
    assert blending_weights(before, before).tolist() == pytest.approx([1 / 3] * 3)


@pytest.mark.parametrize(
    ("settings", "measured", "begin", "end"),
    [({"mode": "online"}, [0, 1, 4, 5], [0, 4], [2, 6]),
     ({"mode": "offline"}, [0, 1], [0], [2]),
     ({"mode": "online", "estimate": "joint"}, [], [0, 2, 4, 6], [2, 4, 6]),
     ({"mode": "offline", "estimate": "joint"}, [], [0], [2])],
)  # fmt: skip
def test_measurements_and_training_take_turns(settings: Any, measured: Any, begin: Any, end: Any) -> None:
    method = GradientBlending(super_epoch=2, **settings)
    assert [epoch for epoch in range(8) if method.measures(epoch)] == measured
    assert [epoch for epoch in range(8) if method.boundary(epoch)[0]] == begin
    assert [epoch for epoch in range(8) if method.boundary(epoch)[1]] == end


def part(state: dict[str, Tensor], prefix: str, without: str = "nothing") -> dict[str, Tensor]:
    return {n.removeprefix(prefix): v for n, v in state.items() if n.startswith(prefix) and without not in n}


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_copies_learn_as_they_would_by_themselves_and_the_model_rests(splits: Splits, optimizer: str) -> None:
    """They begin where the model is, with its momentum."""
    settings, batch, found = TRAIN.model_copy(update={"optimizer": optimizer}), first_batch(splits), []
    for method in (GradientBlending(super_epoch=1), Unimodal(), Joint(unimodal_weight=0)):
        trainer = small_trainer(splits, Joint(), encoders={})
        model = trainer.model
        trainer.train_epoch([batch, batch], 0.01)
        learned = trainer.optimizer.state_dict()["state"]
        trainer = Trainer(model, method, settings, trainer.runtime)
        own = dict(enumerate(model.parameters()))
        if optimizer == "adamw":
            for number, state in learned.items():
                trainer.optimizer.state[own[number]] = state
        if isinstance(method, GradientBlending):
            restart_copies(trainer)
        before = weights.take(model)
        trainer.train_epoch([batch, batch], 0.01)
        found.append(weights.take(model))
        if isinstance(method, GradientBlending):
            assert_same(part(found[0], "branches."), part(before, "branches."))
            assert_same(part(found[0], "fusion."), part(before, "fusion."))
    copies, alone, together = found
    assert_same(part(copies, "copies_alone."), part(alone, "branches."))
    heads = ".head."
    assert_same(part(copies, "copies_together.", heads), part(together, "branches.", heads))
    assert_same(part(copies, "copies_fusion."), part(together, "fusion."))


def moved(trainer: Trainer) -> None:
    """The copies are other than the model."""
    torch.manual_seed(1)
    with torch.no_grad():
        for name, weight in trainer.model.named_parameters():
            if name.startswith("copies"):
                weight.add_(0.2 * torch.randn(weight.shape))


def test_weights_come_from_the_losses_of_the_copies(splits: Splits) -> None:
    method = GradientBlending(super_epoch=1, mode="offline")
    trainer = small_trainer(splits, method)
    both = (Split.TRAIN, Split.VALIDATION)
    names = [*trainer.model.branches, FUSED]
    looks: Any = [lambda split=split: evidence_of(trainer, splits, split) for split in both]
    before = [mean_losses(look(), names).tolist() for look in looks]
    method.begin_epoch(trainer, 0, *looks)
    moved(trainer)
    model: Any = trainer.model
    method.begin_epoch(trainer, 1, *looks)
    after = []
    for split in both:
        batch = first_batch({Split.TRAIN: splits[split]}, len(splits[split]))
        trainer.model.eval()
        logits, features = {}, {}
        for name in trainer.model.branches:
            logits[name] = model.copies_alone[name](batch.inputs[name])[1]
            features[name] = model.copies_together[name](batch.inputs[name])[0]
        logits[FUSED] = model.copies_fusion(features)
        after.append([float(torch.nn.functional.cross_entropy(logits[n].detach(), batch.labels)) for n in names])
    assert trainer.memory["weights"].tolist() == pytest.approx(slow_weights(before, after), rel=1e-3)
    assert [mean_losses(look(), names).tolist() for look in looks] == before, "the model answers again"


def test_the_trained_loss_is_the_weighted_one(splits: Splits) -> None:
    batch = first_batch(splits)
    method = GradientBlending(super_epoch=1)
    trainer = small_trainer(splits, method)
    number = len(trainer.model.branches) + 1
    trainer.epoch, w = 1, torch.arange(1.0, number + 1) / sum(range(number + 1))
    trainer.memory["weights"] = w.double()
    outputs, loss = method.step(trainer, batch)
    wanted = sum(
        float(own) * float(torch.nn.functional.cross_entropy(outputs.logits[name].detach(), batch.labels))
        for own, name in zip(w, [*trainer.model.branches, FUSED], strict=True)
    )
    assert float(loss.detach()) == pytest.approx(wanted, rel=1e-5)


def test_before_it_has_weights_it_is_joint(splits: Splits) -> None:
    batch, share = first_batch(splits), 1 / (len(splits[Split.TRAIN].meta.modalities) + 1)
    found, joint = (
        gradients(small_trainer(splits, method), batch)
        for method in (GradientBlending(estimate="joint"), Joint(fused_weight=share, unimodal_weight=share))
    )
    assert_same(found, joint)


def test_copies_have_no_part_in_evaluation_and_are_not_exported(splits: Splits) -> None:
    trainer = small_trainer(splits, GradientBlending())
    evidence = evidence_of(trainer, splits, Split.VALIDATION)
    moved(trainer)
    assert_same(evidence_of(trainer, splits, Split.VALIDATION).logits, evidence.logits)
    with copies_asked(trainer.model):
        other = evidence_of(trainer, splits, Split.VALIDATION)
    assert list(other.logits) == list(evidence.logits)
    assert not any(torch.equal(values, evidence.logits[name]) for name, values in other.logits.items())
    GradientBlending().export(trainer.model)
    assert_same(evidence_of(trainer, splits, Split.VALIDATION).logits, evidence.logits)
    plain = build_model(splits[Split.TRAIN].meta, {}, 0)
    names = set(plain.state_dict())
    GradientBlending().prepare_exported(plain)
    assert set(plain.state_dict()) == names


def test_what_samples_lack_is_in_no_measure() -> None:
    z = torch.tensor([[2.0, 0], [0, 1], [0, 0], [0, 0]])
    features = {"a": z, "v": torch.ones(4, 2)}
    evidence = Evidence({"a": z, "v": z, FUSED: z}, torch.tensor([0, 0, 1, 1]), features)
    assert accuracies(evidence, ["a", "v"]).tolist() == [0.5, 0.25]
    losses = torch.nn.functional.cross_entropy(z.double(), evidence.labels, reduction="none")
    assert mean_losses(evidence, ["a", FUSED]).tolist() == pytest.approx(
        [float(losses[:2].mean()), float(losses.mean())]
    )
    absent = Evidence(evidence.logits, evidence.labels, {"a": torch.zeros(4, 2), "v": features["v"]})
    assert mean_losses(absent, ["a"]).isnan().all()
    assert accuracies(absent, ["a"]).isnan().all()
