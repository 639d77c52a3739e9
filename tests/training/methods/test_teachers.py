"""Unimodal teachers, and the two methods that have them: umt and g2d."""

from collections.abc import Callable
from math import exp, log
from typing import Any

import pytest
import torch
from torch import Tensor

from bss.encoders.mlp import MLP
from bss.measure.evidence import Evidence
from bss.model import build_model
from bss.params import Params
from bss.parsing import read_mapping
from bss.training import weights
from bss.training.loader import Batch
from bss.training.loop import split_evidence
from bss.training.methods._teachers import lesson
from bss.training.methods.fused_only import FusedOnly
from bss.training.methods.g2d import G2D, divergence, sums_of_confidence
from bss.training.methods.method import METHODS, Method
from bss.training.methods.mnl import MNL
from bss.training.methods.umt import UMT, distance
from bss.training.methods.unimodal import Unimodal
from bss.training.trainer import Trainer
from bss.types import FUSED, PRESENT, Split
from tests.helpers import ROOT
from tests.helpers.steps import Splits, assert_same, first_batch, gradients, small_trainer, trained_weights
from tests.helpers.toy import packed_toy

taught = pytest.mark.parametrize("method", [UMT, G2D])


@pytest.fixture(scope="module", params=[2, 3], ids=lambda number: f"{number} modalities")
def splits(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Splits:
    return packed_toy(tmp_path_factory.mktemp("toy"), request.param)


def teaching(splits: Splits, method: Method, epoch: int, convolutions: bool = False) -> Trainer:
    """A trainer in an epoch of the model's own, with teachers that are other than the branches."""
    trainer = small_trainer(splits, method, encoders={} if convolutions else None)
    torch.manual_seed(1)
    with torch.no_grad():
        for weight in trainer.model.teachers.parameters():
            weight.add_(0.3 * torch.randn(weight.shape))
    trainer.epoch = epoch
    return trainer


def without(batch: Batch, modality: str, rows: list[int]) -> Batch:
    """The batch with a modality that some samples lack."""
    present = torch.ones(len(batch.labels), dtype=torch.bool)
    present[rows] = False
    return batch._replace(inputs={**batch.inputs, f"{modality}{PRESENT}": present})


@taught
def test_teachers_train_as_unimodal_and_the_model_stays(method: type[UMT] | type[G2D], splits: Splits) -> None:
    found = trained_weights(splits, method(teacher_epochs=9))
    reference = trained_weights(splits, Unimodal())
    initial = weights.take(small_trainer(splits, method()).model)
    for name, values in found.items():
        if name.startswith("teachers."):
            assert torch.equal(values, reference[name.replace("teachers.", "branches.", 1)]), name
        else:
            assert torch.equal(values, initial[name]), name


@taught
def test_the_model_begins_where_it_would_without_teachers(method: type[UMT] | type[G2D], splits: Splits) -> None:
    """No statistic of it moves while the teachers train, nor any of theirs while it does."""
    trainer, batch = small_trainer(splits, method(teacher_epochs=1), encoders={}), first_batch(splits)
    before = weights.take(trainer.model)
    trainer.train_epoch([batch], 0.01)
    between = weights.take(trainer.model)
    trainer.train_epoch([batch], 0.01)
    after = weights.take(trainer.model)
    assert any("running" in name for name in before)
    for first, second, teachers in ((before, between, True), (between, after, False)):
        moved = {name.split(".")[0] for name in first if not torch.equal(first[name], second[name])}
        assert moved <= ({"teachers"} if teachers else {"branches", "fusion"})
        assert moved


@taught
def test_teachers_have_no_part_in_evaluation(method: type[UMT] | type[G2D], splits: Splits) -> None:
    trainer = teaching(splits, method(), 0)
    evidence = split_evidence(trainer.module, splits[Split.VALIDATION], 16, trainer.runtime)
    with torch.no_grad():
        for weight in trainer.model.teachers.parameters():
            weight.zero_()
    assert_same(split_evidence(trainer.module, splits[Split.VALIDATION], 16, trainer.runtime).logits, evidence.logits)
    assert list(evidence.logits) == [*trainer.model.branches, FUSED]


@taught
def test_what_is_exported_has_no_teachers_and_says_the_same(method: type[UMT] | type[G2D], splits: Splits) -> None:
    meta, batch = splits[Split.TRAIN].meta, first_batch(splits)
    trained, given = (build_model(meta, dict.fromkeys(meta.modalities, MLP(width=8)), seed) for seed in (0, 1))
    names = set(trained.state_dict())
    method().prepare(trained)
    wanted = trained.eval()(batch.inputs).logits
    method().export(trained)
    assert set(trained.state_dict()) <= names
    assert_same(trained(batch.inputs).logits, wanted)
    method().prepare_exported(given)
    given.load_state_dict(trained.state_dict())
    assert_same(given.eval()(batch.inputs).logits, wanted)


def slow_distance(features: list[list[list[float]]], taught: list[list[list[float]]]) -> float:
    """Modality by modality, sample by sample, dimension by dimension."""
    total = 0.0
    for own, theirs in zip(features, taught, strict=True):
        squares = [
            (f - t) ** 2 for one, other in zip(own, theirs, strict=True) for f, t in zip(one, other, strict=True)
        ]
        total += sum(squares) / len(squares)
    return total


def softmax(values: list[float]) -> list[float]:
    highest = max(values)
    return [exp(value - highest) / sum(exp(other - highest) for other in values) for value in values]


def slow_divergence(taught: list[list[list[float]]], fused: list[list[float]]) -> float:
    total = 0.0
    for rows in taught:
        for row, z in zip(rows, fused, strict=True):
            if any(row):
                total += sum(p * log(p / q) for p, q in zip(softmax(row), softmax(z), strict=True)) / len(fused)
    return total


def test_the_distance_by_hand() -> None:
    f, t = torch.tensor([[1.0, 0], [0.2, 0.6]]), torch.tensor([[0.8, 0.1], [0, 0.9]])
    found = distance({"a": f}, {"a": t})
    assert [float(weight * found) for weight in (1, 10, 50)] == pytest.approx([0.045, 0.45, 2.25])


def test_the_divergence_by_hand() -> None:
    teacher, student = torch.tensor([[0.6, 0.133333, 0.266667]]), torch.tensor([[0.6, 0.3, 0.1]])
    assert float(divergence({"a": teacher.log()}, student.log())) == pytest.approx(0.153430, abs=1e-6)


@pytest.mark.parametrize("number", [2, 3, 6])
def test_losses_equal_their_slow_references(number: int) -> None:
    torch.manual_seed(number)
    f, t = ({f"m{m}": torch.randn(7, 2 + m) for m in range(number)} for _ in range(2))
    slow = slow_distance([values.tolist() for values in f.values()], [values.tolist() for values in t.values()])
    assert float(distance(f, t)) == pytest.approx(slow, rel=1e-5)
    z = {f"m{m}": 2 * torch.randn(7, 4) for m in range(number)}
    z["m1"][3:5] = 0  # these lack it
    fused = torch.randn(7, 4)
    assert float(divergence(z, fused)) == pytest.approx(
        slow_divergence([values.tolist() for values in z.values()], fused.tolist()), rel=1e-5
    )


def branch_outputs(trainer: Trainer, batch: Batch) -> dict[str, tuple[Tensor, Tensor]]:
    """Modality -> features and logits of its teacher in eval mode, asked by itself."""
    trainer.model.teachers.eval()
    return {
        name: teacher(batch.inputs[name], batch.inputs.get(f"{name}{PRESENT}"))
        for name, teacher in trainer.model.teachers.items()
    }


def slow_umt(trainer: Trainer, batch: Batch) -> Tensor:
    outputs, method = trainer.model(batch.inputs), trainer.method
    theirs = branch_outputs(trainer, batch)
    return method.loss(outputs.logits, batch.labels) + 3 * sum(  # type: ignore[no-any-return]
        ((values - theirs[name][0].detach()) ** 2).mean() for name, values in outputs.features.items()
    )


def slow_g2d(trainer: Trainer, batch: Batch) -> Tensor:
    outputs = trainer.model(batch.inputs)
    theirs = branch_outputs(trainer, batch)
    z = torch.stack([outputs.logits[name] for name in theirs]).mean(dim=0)
    logs = z.log_softmax(dim=1)
    loss = -logs[torch.arange(len(z)), batch.labels].mean()
    for name, (features, logits) in theirs.items():
        p = logits.detach().softmax(dim=1)
        there = batch.inputs.get(f"{name}{PRESENT}", torch.ones(len(z)))
        loss = loss + 3 * ((outputs.features[name] - features.detach()) ** 2).mean()
        loss = loss + 2 * ((p * (p.log() - logs)).sum(dim=1) * there).mean()
    return loss


@pytest.mark.parametrize(
    ("method", "slow"),
    [(UMT(teacher_epochs=2, feature_weight=3), slow_umt),
     (G2D(teacher_epochs=2, prioritised_epochs=0, feature_weight=3, logit_weight=2), slow_g2d)],
    ids=["umt", "g2d"],
)  # fmt: skip
@pytest.mark.parametrize("gaps", [False, True])
def test_a_step_follows_its_equation(
    method: Method, slow: Callable[[Trainer, Batch], Tensor], gaps: bool, splits: Splits
) -> None:
    trainer, batch = teaching(splits, method, 2, convolutions=True), first_batch(splits)
    batch = without(batch, "m1", [0, 3, 4]) if gaps else batch
    found = gradients(trainer, batch)
    trainer.model.train()
    slow(trainer, batch).backward()
    for name, weight in trainer.model.named_parameters():
        wanted = torch.zeros_like(weight) if weight.grad is None else weight.grad
        assert torch.allclose(found[name], wanted, atol=2e-6), name
        assert not (name.startswith("teachers.") and found[name].any())


def test_without_weight_or_teachers_umt_is_fused_only(splits: Splits) -> None:
    reference = trained_weights(splits, FusedOnly())
    found = trained_weights(splits, UMT(teacher_epochs=0))
    assert_same(reference, {name: found[name] for name in reference})


def test_without_all_its_parts_g2d_is_the_mean_of_the_logits(splits: Splits) -> None:
    reference = trained_weights(splits, MNL(unimodal_weight=0, negative_weight=0))
    found = trained_weights(splits, G2D(teacher_epochs=0, prioritised_epochs=0))
    assert_same(reference, {name: found[name] for name in reference})


@pytest.mark.parametrize(
    ("method", "needed"),
    [({"name": "umt", "teacher_epochs": 13}, 14), ({"name": "g2d", "prioritised_epochs": 8}, 14),
     ({"name": "mmlora", "alone_epochs": 13}, 14)],
)  # fmt: skip
def test_a_training_too_short_for_the_phases_is_refused_with_the_parameters(
    method: dict[str, Any], needed: int
) -> None:
    raw = read_mapping(ROOT / "params.yaml")
    raw["grid"]["methods"], raw["methods"] = ["joint", "phased"], {"phased": method}
    with pytest.raises(ValueError, match=rf"'phased' needs {needed} epochs .* has 13 \(train\.epochs and those of"):
        Params(**raw)
    Params(**{**raw, "warmup": {**raw["warmup"], "objective": {"name": "umurl"}}})  # whose heads are trained apart
    raw["train"]["epochs"] += 1
    Params(**raw)


def test_turns_are_of_equal_length() -> None:
    def turns(epochs: int, number: int) -> list[int | None]:
        return [G2D(prioritised_epochs=epochs).turn(epoch, number) for epoch in range(epochs + 1)]

    assert turns(3, 2) == [0, 0, 0, None]
    assert turns(4, 3) == [0, 0, 1, 1, None]
    assert turns(5, 6) == [0, 1, 2, 3, 4, None]
    assert turns(0, 2) == [None]


@pytest.mark.parametrize("variant", ["published", "released"])
@pytest.mark.parametrize("teacher_epochs", [0, 2])
def test_a_batch_trains_the_encoder_whose_turn_it_is(variant: str, teacher_epochs: int, splits: Splits) -> None:
    method = G2D.model_validate({"variant": variant, "teacher_epochs": teacher_epochs, "prioritised_epochs": 2})
    batch = first_batch(splits)
    names = list(splits[Split.TRAIN].meta.modalities)
    for epoch in range(3):
        trainer = teaching(splits, method, teacher_epochs + epoch, convolutions=True)
        free = gradients(teaching(splits, method, teacher_epochs + 2, convolutions=True), batch)
        found = gradients(trainer, batch)
        confidence = {}
        for name in names:
            logits = (lesson(trainer, batch) if teacher_epochs else trainer.model.train()(batch.inputs)).logits[name]
            rows = zip(logits.tolist(), batch.labels.tolist(), strict=True)
            confidence[name] = sum(softmax(row)[label] for row, label in rows)
        ranks = sorted(names, key=confidence.__getitem__)
        turn = ranks[epoch * (len(names) - 1) // 2] if epoch < 2 else None
        for name, weight in trainer.model.named_parameters():
            of_other = ".encoder." in name and turn and not name.startswith(f"branches.{turn}.")
            held = of_other and (variant == "published" or weight.ndim == 4)
            assert torch.equal(found[name], torch.zeros_like(weight) if held else free[name]), (epoch, name)


def test_what_a_sample_lacks_is_no_confidence() -> None:
    z = torch.tensor([[2.0, 0, 0], [0, 0, 0]])
    assert sums_of_confidence({"a": z}, torch.tensor([0, 1])) == {"a": pytest.approx(softmax([2.0, 0, 0])[0])}


def test_the_ranks_of_the_warmup_stay(splits: Splits) -> None:
    """The first modality is made the surest of all pairs, and then forgets all it knows."""
    method = G2D(teacher_epochs=0, prioritised_epochs=2, ranks="warmup")
    trainer, batch = small_trainer(splits, method), first_batch(splits)
    train, names = splits[Split.TRAIN], list(trainer.model.branches)
    evidence = split_evidence(trainer.module, train, 16, trainer.runtime)
    sure = {**evidence.logits, "m0": 9 * torch.eye(3)[evidence.labels]}
    clean = Evidence(sure, evidence.labels, evidence.features)
    method.begin_epoch(trainer, 0, lambda: clean, pytest.fail)
    wanted = sorted(names, key=lambda name: sum(
        softmax(row)[y] for row, y in zip(sure[name].tolist(), clean.labels.tolist(), strict=True)
    ))  # fmt: skip
    assert wanted[-1] == "m0"
    for epoch in range(3):
        method.begin_epoch(trainer, epoch, (lambda: clean) if epoch == 0 else pytest.fail, pytest.fail)
        trainer.epoch = epoch
        found = gradients(trainer, batch)
        moving = {name.split(".")[1] for name, values in found.items() if ".encoder." in name and values.any()}
        assert moving == ({wanted[epoch * (len(names) - 1) // 2]} if epoch < 2 else set(names)), epoch


def test_the_warmup_ranks_without_teachers_alone_and_gives_its_weights() -> None:
    with pytest.raises(ValueError, match="ranks is warmup and teacher_epochs 5: .* set teacher_epochs to 0"):
        G2D(ranks="warmup")
    assert G2D(ranks="warmup", teacher_epochs=0).goes_on
    assert not G2D(teacher_epochs=0).goes_on
    for name in METHODS:
        assert METHODS.example(name).goes_on == METHODS[name].from_warmup, name


def test_epochs_of_the_warmup_are_no_epochs_of_a_training_that_goes_on() -> None:
    raw = read_mapping(ROOT / "params.yaml")
    phased = {"name": "g2d", "teacher_epochs": 0, "ranks": "warmup", "prioritised_epochs": raw["train"]["epochs"]}
    raw["grid"]["methods"], raw["methods"] = ["joint", "phased"], {"phased": phased}
    needed = raw["train"]["epochs"] + 1
    with pytest.raises(ValueError, match=rf"'phased' needs {needed} epochs .* has {needed - 1} \(train\.epochs\)"):
        Params(**raw)
