"""CALM: golden numbers, a step against the equations, anchors of a file, and what is joint."""

from math import exp, log, sqrt
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from bss.errors import InputError
from bss.files import write_tensors
from bss.training.methods.joint import Joint
from bss.training.objectives._anchors import contrast, divergence, info_nce, log_relations
from bss.training.objectives._part import presence
from bss.training.objectives.calm import CALM
from tests.helpers.gaps import with_gaps
from tests.helpers.steps import Splits, assert_same, first_batch, gradients, small_trainer
from tests.helpers.toy import packed_toy

SMALL = {"num_anchors": 4, "width": 5, "hidden": 6, "latent": 3}
ANCHORS = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Splits:
    return packed_toy(tmp_path_factory.mktemp("three"), 3)


def relations(features: list[float], tau: float) -> list[float]:
    embedded = normalize(torch.tensor([features], dtype=torch.float32), dim=1)
    return log_relations(embedded, ANCHORS, tau).exp()[0].tolist()


def test_the_golden_relations() -> None:
    assert relations([1, 1], 1.0) == pytest.approx([0.445808, 0.445808, 0.108383], abs=1e-6)
    assert relations([2, 0.5], 1.0) == pytest.approx([0.614731, 0.296954, 0.088314], abs=1e-6)
    assert relations([1, 1], 1 / 0.07) == pytest.approx([0.5, 0.5, 0], abs=1e-6)
    assert relations([2, 0.5], 1 / 0.07) == pytest.approx([0.999969, 0.000031, 0], abs=1e-6)


def test_the_golden_divergence_and_generation() -> None:
    mean, log_variance = torch.tensor([[0.3, -0.2]]), torch.tensor([[-0.1, 0.2]])
    assert divergence(mean, log_variance).item() == pytest.approx(0.078120, abs=1e-6)
    drawn = mean + (log_variance / 2).exp() * torch.tensor([[0.5, -1.0]])
    assert drawn[0].tolist() == pytest.approx([0.775615, -1.305171], abs=1e-6)
    decoded = torch.tensor([[0.8, 0.3, -0.9]])
    assert decoded.softmax(dim=1)[0].tolist() == pytest.approx([0.558905, 0.338993, 0.102103], abs=1e-6)
    wanted = torch.tensor([relations([2, 0.5], 1.0)])
    generation = torch.nn.functional.cross_entropy(decoded, wanted)
    assert generation.item() == pytest.approx(0.880388, abs=1e-6)
    assert (generation + 0.1 * divergence(mean, log_variance)).item() == pytest.approx(0.888200, abs=1e-6)


def test_the_golden_contrast() -> None:
    cosines = torch.tensor([[0.9, 0.1, 0.2], [0.2, 0.8, 0.1], [0.0, 0.3, 0.7]])
    assert info_nce(cosines / 0.07).item() == pytest.approx(0.000915, abs=1e-6)
    one = {"a": torch.eye(3), "v": cosines.T}
    there = {name: torch.ones(3, dtype=torch.bool) for name in one}
    assert contrast(one, there, 0.07).item() == pytest.approx(0.000915, abs=1e-6)


def softmax(values: list[float]) -> list[float]:
    total = sum(map(exp, values))
    return [exp(value) / total for value in values]


def cosine(one: list[float], other: list[float]) -> float:
    dot = sum(a * b for a, b in zip(one, other, strict=True))
    return dot / sqrt(sum(a * a for a in one)) / sqrt(sum(b * b for b in other))


def slow_loss(
    objective: CALM, trainer: object, features: dict[str, Tensor], noise: Tensor, there: dict[str, Tensor]
) -> float:
    """Without the task `label`: pair by pair and sample by sample, in plain floats, by the networks of the part."""
    part, names = trainer.model.objective, list(features)  # type: ignore[attr-defined]
    anchors = (part.fixed + part.places).tolist()
    embedded = {name: part.maps[name](features[name]).tolist() for name in names}
    found = {
        name: [softmax([objective.tau * cosine(row, anchor) for anchor in anchors]) for row in embedded[name]]
        for name in names
    }
    means = []
    for place, (source, target) in enumerate(objective._pairs(names)):
        losses = []
        for row in range(len(noise)):
            if not (there[source][row] and there[target][row]):
                continue
            both = part.encoders[place](torch.tensor([found[source][row]]))[0].tolist()
            mean, log_variance = both[: objective.latent], both[objective.latent :]
            drawn = [
                m + sqrt(exp(v)) * e for m, v, e in zip(mean, log_variance, noise[row, place].tolist(), strict=True)
            ]
            decoded = softmax(part.decoders[place](torch.tensor([drawn]))[0].tolist())
            loss = -sum(s * log(r) for s, r in zip(found[target][row], decoded, strict=True))
            loss += objective.alpha / 2 * sum(m * m + exp(v) - v - 1 for m, v in zip(mean, log_variance, strict=True))
            losses.append(loss)
        means.append(sum(losses) / len(losses))
    total: float = objective.weight * sum(means) / len(means)
    if objective.task == "contrast":
        pairs = [(names[i], names[j]) for i in range(len(names)) for j in range(i + 1, len(names))]
        total += sum(slow_contrast(embedded, there, *pair, objective.temperature) for pair in pairs) / len(pairs)
    return total


def slow_contrast(
    embedded: dict[str, list[list[float]]], there: dict[str, Tensor], one: str, other: str, temperature: float
) -> float:
    rows = [row for row in range(len(embedded[one])) if there[one][row] and there[other][row]]
    table = [[cosine(embedded[one][a], embedded[other][b]) / temperature for b in rows] for a in rows]
    losses = [
        -log(softmax(table[place])[place]) - log(softmax([line[place] for line in table])[place])
        for place in range(len(rows))
    ]
    return sum(losses) / 2 / len(rows)


@pytest.mark.parametrize("gaps", [{}, {"m0": [0, 3], "m2": [3, 4, 5]}])
@pytest.mark.parametrize(
    "fields",
    [
        {"task": "label"}, {"task": "contrast"}, {"task": "contrast", "generated": "m1", "weight": 0.3, "alpha": 1.0},
        {"task": "label", "target": "free", "tau": 2.0},
    ],
)  # fmt: skip
def test_the_loss_of_a_step_is_the_slow_one(
    fields: dict[str, object], gaps: dict[str, list[int]], three: Splits
) -> None:
    objective = CALM(**SMALL, **fields)
    trainer = small_trainer(three, objective)
    batch = with_gaps(first_batch(three), **gaps)
    trainer.num_steps = 1
    generator = trainer.generator("noise of calm")
    pairs = objective._pairs(list(trainer.model.branches))
    noise = torch.randn(16, len(pairs), objective.latent, generator=generator)
    there = presence(trainer, batch)
    features = {
        name: trainer.model.branch(name)(batch.inputs[name], there[name])[0] for name in trainer.model.branches
    }
    expected = slow_loss(objective, trainer, features, noise, there)
    if objective.task == "label":
        outputs = trainer.model({**batch.inputs, "calm.noise": noise})
        expected += Joint().loss(outputs.logits, batch.labels).item()
    trainer.num_steps = 0
    trainer._step(batch)
    assert trainer._unchecked is not None
    assert trainer._unchecked.loss.item() == pytest.approx(expected, rel=1e-4)


def test_without_weight_the_task_label_is_joint(three: Splits) -> None:
    batch = first_batch(three)
    one, two = (small_trainer(three, method) for method in (CALM(weight=0), Joint()))
    assert_same(gradients(one, batch), gradients(two, batch))
    CALM(weight=0).finish(one.model)


def test_a_fixed_target_gets_no_gradient(three: Splits) -> None:
    """With one generated modality, its map learns from the target's side alone."""
    batch = first_batch(three)
    for target, learns in (("fixed", False), ("free", True)):
        trainer = small_trainer(three, CALM(**SMALL, generated="m1", target=target))
        found = gradients(trainer, batch)
        assert bool(found["objective.maps.m1.weight"].any()) == learns
        assert found["objective.maps.m0.weight"].any()


def test_values_of_what_a_sample_lacks_change_nothing(three: Splits) -> None:
    batch = with_gaps(first_batch(three), m1=[2, 5], m2=list(range(16)))
    other = batch._replace(
        inputs={**batch.inputs, "m1": batch.inputs["m1"].clone(), "m2": batch.inputs["m2"].clone()}
    )
    other.inputs["m1"][[2, 5]] = 200
    other.inputs["m2"][:] = 90
    one, two = (gradients(small_trainer(three, CALM(**SMALL, task="contrast")), each) for each in (batch, other))
    for name, values in one.items():
        assert values.isfinite().all()
        assert torch.equal(values, two[name]), name
    assert not one["objective.maps.m2.weight"].any(), "no pair of it has a sample"


def test_anchors_come_from_a_file(three: Splits, tmp_path: Path) -> None:
    write_tensors({"anchors": torch.eye(7)[:5]}, tmp_path / "a.safetensors")
    trainer = small_trainer(three, CALM(anchors=str(tmp_path / "a.safetensors")))
    part: Any = trainer.model.objective
    assert torch.equal(part.fixed, torch.eye(7)[:5])
    assert not part.places.any()
    assert part.maps["m0"].out_features == 7
    assert gradients(trainer, first_batch(three))["objective.places"].any(), "to each a learned vector is added"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"no\.safetensors"),
        ({"other": torch.eye(3)}, r"holds \{'other': \(3, 3\)\}, expected `anchors` \(K, width\)"),
        ({"anchors": torch.ones(1, 3)}, r"expected `anchors` \(K, width\) with two of them"),
        ({"anchors": torch.full((2, 3), torch.nan)}, "all finite"),
    ],
)
def test_a_file_that_holds_no_anchors_is_refused(
    content: dict[str, Tensor] | None, message: str, three: Splits, tmp_path: Path
) -> None:
    path = tmp_path / "no.safetensors"
    if content is not None:
        write_tensors(content, path)
    with pytest.raises(InputError, match=message):
        small_trainer(three, CALM(anchors=str(path)))


def test_a_generated_modality_has_to_be_there() -> None:
    with pytest.raises(InputError, match=r"generated: 'text' is no modality \(known: audio, image\)"):
        CALM(generated="text").check_shapes({"image": (1,), "audio": (1,)})
