"""Criteria and the balance score against slow, obvious references; one clean pass."""

from dataclasses import replace
from itertools import combinations
from math import exp, isclose, log, sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from bss.measure.criteria.criterion import CRITERIA
from bss.measure.evidence import Evidence, collect, read_evidence, write_evidence
from bss.measure.score import balance_score, minmax, score_table
from bss.model import Outputs


def evidence(num_modalities: int = 2, num_samples: int = 17, num_classes: int = 4) -> Evidence:
    generator = torch.Generator().manual_seed(num_modalities)
    names = [*(f"m{number}" for number in range(num_modalities)), "fused"]
    logits = {name: 3 * torch.randn(num_samples, num_classes, generator=generator) for name in names}
    features = {name: torch.randn(num_samples, 5, generator=generator) for name in names[:-1]}
    return Evidence(logits, torch.randint(num_classes, (num_samples,), generator=generator), features)


def softmax(row: Tensor) -> list[float]:
    exponents = [exp(float(value)) for value in row]
    return [value / sum(exponents) for value in exponents]


def cosine(u: list[float], v: list[float]) -> float:
    return sum(a * b for a, b in zip(u, v, strict=True)) / sqrt(sum(a * a for a in u) * sum(b * b for b in v))


def slow_prediction_similarity(given: Evidence, row: int) -> float:
    predictions = [softmax(given.logits[name][row]) for name in given.modalities]
    pairs = [(i, j) for i in range(len(predictions)) for j in range(i)]
    return sum(cosine(predictions[i], predictions[j]) for i, j in pairs) / len(pairs)


def slow_training_loss(given: Evidence, row: int) -> float:
    return sum(-log(softmax(logits[row])[int(given.labels[row])]) for logits in given.logits.values())


def slow_training_loss_weighted(given: Evidence, row: int) -> float:
    weights = {output: 0.1 if output == "fused" else 0.9 for output in given.logits}
    label = int(given.labels[row])
    return sum(-weights[output] * log(softmax(logits[row])[label]) for output, logits in given.logits.items())


def slow_feature_similarity(given: Evidence, row: int) -> float:
    assert given.features is not None
    features = [given.features[name][row].tolist() for name in given.modalities]
    pairs = [(i, j) for i in range(len(features)) for j in range(i)]
    return sum(cosine(features[i], features[j]) for i, j in pairs) / len(pairs)


def slow_gradient_magnitude(given: Evidence, row: int) -> float:
    assert given.features is not None
    inputs = {name: given.features[name][row].tolist() for name in given.modalities}
    inputs["fused"] = [value for name in given.modalities for value in inputs[name]]
    total = 0.0
    for output, logits in given.logits.items():
        for label, probability in enumerate(softmax(logits[row])):
            error = probability - (label == int(given.labels[row]))
            total += sum((error * value) ** 2 for value in [*inputs[output], 1.0])
    return sqrt(total)


def slow_confidence_gap(given: Evidence, row: int) -> float:
    truths = [softmax(given.logits[name][row])[int(given.labels[row])] for name in given.modalities]
    return max(abs(u - v) for u in truths for v in truths)


def slow_entropy(given: Evidence, row: int) -> float:
    entropies = [sum(-p * log(p) for p in softmax(given.logits[name][row])) for name in given.modalities]
    return sum(entropies) / len(entropies)


SLOW = {
    "prediction_similarity": slow_prediction_similarity,
    "training_loss": slow_training_loss,
    "training_loss_weighted": slow_training_loss_weighted,
    "feature_similarity": slow_feature_similarity,
    "gradient_magnitude": slow_gradient_magnitude,
    "confidence_gap": slow_confidence_gap,
    "entropy": slow_entropy,
}


@pytest.mark.parametrize("num_modalities", [2, 3, 6])
@pytest.mark.parametrize("name", CRITERIA)
def test_a_criterion_is_a_pure_function_with_a_value_a_sample(name: str, num_modalities: int) -> None:
    first, second = CRITERIA[name](evidence(num_modalities)), CRITERIA[name](evidence(num_modalities))
    assert first.shape == (17,)
    assert bool(first.isfinite().all())
    assert torch.equal(first, second)


@pytest.mark.parametrize("num_modalities", [2, 3, 6])
@pytest.mark.parametrize("name", SLOW)
def test_a_criterion_equals_its_slow_reference(name: str, num_modalities: int) -> None:
    given = evidence(num_modalities)
    fast = CRITERIA[name](given)
    assert fast.shape == (17,)
    for row in range(17):
        assert isclose(float(fast[row]), SLOW[name](given, row), rel_tol=1e-4, abs_tol=1e-6)


def test_the_gradient_in_closed_form_is_that_of_autograd() -> None:
    torch.manual_seed(0)
    features = {"a": torch.randn(6, 3), "v": torch.randn(6, 4)}
    joined = {**features, "fused": torch.cat(list(features.values()), dim=1)}
    heads = {name: nn.Linear(values.shape[1], 4) for name, values in joined.items()}
    labels = torch.randint(4, (6,))
    logits = {name: head(joined[name]) for name, head in heads.items()}
    with torch.no_grad():
        found = CRITERIA["gradient_magnitude"](Evidence(logits, labels, features))
    weights = [weight for head in heads.values() for weight in head.parameters()]
    for row in range(6):
        losses = [nn.functional.cross_entropy(values[row], labels[row]) for values in logits.values()]
        gradients = torch.autograd.grad(torch.stack(losses).sum(), weights, retain_graph=True)
        assert isclose(float(found[row]), sqrt(sum(float(part.square().sum()) for part in gradients)), rel_tol=1e-5)


def test_measured_gradients_come_first() -> None:
    given = evidence()
    measured = torch.arange(17.0)
    assert torch.equal(CRITERIA["gradient_magnitude"](replace(given, gradients=measured)), measured)


@pytest.mark.parametrize("name", ["feature_similarity", "gradient_magnitude"])
def test_a_criterion_that_needs_features_says_so(name: str) -> None:
    with pytest.raises(ValueError, match=rf"{name} needs the features of \['m0', 'm1'\], and the evidence has \[\]"):
        balance_score(replace(evidence(), features=None), [name])


def test_features_of_different_widths_have_no_cosine() -> None:
    given = evidence()
    assert given.features is not None
    narrow = {**given.features, "m1": given.features["m1"][:, :2]}
    with pytest.raises(ValueError, match=r"features of one width, and the encoders give \{'m0': 5, 'm1': 2\}"):
        balance_score(replace(given, features=narrow), ["feature_similarity"])


@pytest.mark.parametrize("name", CRITERIA)
def test_a_criterion_alone_lies_on_the_side_of_its_direction(name: str) -> None:
    score = balance_score(evidence(3), [name])
    assert (float(score.min()), float(score.max())) == ((0, 1) if CRITERIA[name].direction > 0 else (-1, 0))


@pytest.mark.parametrize("pair", list(combinations(CRITERIA, 2)), ids=" & ".join)
def test_a_pair_of_criteria_is_for_less_against(pair: tuple[str, str]) -> None:
    given = evidence(3)
    both = balance_score(given, pair)
    total = balance_score(given, pair[:1]) + balance_score(given, pair[1:])
    are_alike = CRITERIA[pair[0]].direction == CRITERIA[pair[1]].direction
    assert torch.allclose(both, total / 2 if are_alike else total)
    assert torch.equal(both, balance_score(given, pair[::-1])), "their order does not matter"


@pytest.mark.parametrize("number", range(1, len(CRITERIA) + 1))
def test_a_score_of_any_criteria_lies_in_its_range(number: int) -> None:
    for names in combinations(CRITERIA, number):
        score = balance_score(evidence(2), names)
        assert -1 <= float(score.min()) < float(score.max()) <= 1


@pytest.mark.parametrize("num_modalities", [2, 3, 6])
def test_the_published_score_is_similarity_minus_loss(num_modalities: int) -> None:
    given = evidence(num_modalities)
    similarity = [slow_prediction_similarity(given, row) for row in range(17)]
    loss = [slow_training_loss(given, row) for row in range(17)]
    score = balance_score(given)
    for row in range(17):
        expected = (similarity[row] - min(similarity)) / (max(similarity) - min(similarity))
        expected -= (loss[row] - min(loss)) / (max(loss) - min(loss))
        assert isclose(float(score[row]), expected, abs_tol=1e-5)
    assert -1 <= float(score.min()) < float(score.max()) <= 1


def test_a_balanced_pair_scores_above_an_imbalanced_one() -> None:
    sure, wrong = [9.0, 0.0, 0.0], [0.0, 9.0, 0.0]
    logits = {
        "a": torch.tensor([sure, sure]),
        "v": torch.tensor([sure, wrong]),
        "fused": torch.tensor([sure, sure]),
    }
    score = balance_score(Evidence(logits, torch.tensor([0, 0])))
    assert score.tolist() == [1.0, -1.0]


def test_equal_values_are_normalised_to_zero() -> None:
    assert minmax(torch.tensor([2.5, 2.5, 2.5])).tolist() == [0, 0, 0]
    assert minmax(torch.tensor([1.0, 3.0, 2.0])).tolist() == [0, 1, 0.5]


def test_the_table_keeps_raw_and_normalised_criteria() -> None:
    given = evidence()
    table = score_table(given)
    assert table.columns == [
        "label",
        *("prediction_similarity", "prediction_similarity_normalised"),
        *("training_loss", "training_loss_normalised"),
        "balance_score",
    ]
    total = table["prediction_similarity_normalised"] + table["training_loss_normalised"]
    assert np.allclose(total, table["balance_score"], atol=1e-12)
    assert np.allclose(table["training_loss"], CRITERIA["training_loss"](given))
    more = score_table(given, others=["entropy"])
    assert np.allclose(more["entropy"], CRITERIA["entropy"](given))
    assert more["balance_score"].equals(table["balance_score"])


@pytest.mark.parametrize(
    "labels", [[0, 1, 2], range(3), *(np.arange(3, dtype=t) for t in "bBhHiIlL"),
               *(torch.arange(3, dtype=t) for t in (torch.uint8, torch.int16, torch.int32, torch.int64))],
    ids=lambda labels: f"{type(labels).__name__} {getattr(labels, 'dtype', '')}",
)  # fmt: skip
def test_labels_of_any_integer_type_give_the_same_score(labels: Any) -> None:
    logits = {name: torch.randn(3, 3, generator=torch.Generator().manual_seed(0)) for name in ("a", "b", "fused")}
    assert torch.equal(balance_score(Evidence(logits, labels)), balance_score(Evidence(logits, torch.arange(3))))


def test_half_precision_is_widened() -> None:
    given = evidence(2)
    half = {name: values.bfloat16() for name, values in given.logits.items()}
    wide = {name: values.float() for name, values in half.items()}
    assert torch.equal(balance_score(Evidence(half, given.labels)), balance_score(Evidence(wide, given.labels)))


def test_unknown_and_missing_criteria_are_refused() -> None:
    with pytest.raises(ValueError, match="did you mean 'training_loss'"):
        balance_score(evidence(), ["trainingloss"])
    with pytest.raises(ValueError, match="at least one criterion"):
        balance_score(evidence(), [])
    with pytest.raises(ValueError, match=r"\[entropy, entropy\] lists one thing twice"):
        balance_score(evidence(), ["entropy", "entropy"])


A, B = torch.zeros(3, 2), torch.zeros(3, 2)
LABELS = torch.tensor([0, 1, 0])


@pytest.mark.parametrize(
    ("logits", "labels", "message"),
    [
        ({"a": A, "fused": A}, LABELS, "at least two modalities"),
        ({"a": A, "b": B, "c": A}, LABELS, "logits of 'fused'"),
        (
            {"a": A, "b": B[:2], "fused": A},
            LABELS,
            r"logits of 'b' have the shape \(2, 2\), expected \(3, 2\)",
        ),
        ({"a": A, "b": B, "fused": A}, LABELS[:2], r"have the shape \(3, 2\), expected \(2, 2\)"),
        ({"a": A, "b": A.index_fill(0, torch.tensor([1]), float("nan")), "fused": A}, LABELS, "'b' .* row 1"),
        ({"a": A, "b": A - float("inf"), "fused": A}, LABELS, "'b' are not finite"),
        ({"a": A, "b": B, "fused": A}, torch.tensor([0, 2, 1]), r"labels lie in \[0, 2\], expected \[0, 1\]"),
        ({"a": A, "b": B, "fused": A}, torch.tensor([0, -1, 1]), r"labels lie in \[-1, 1\]"),
    ],
)
def test_bad_evidence_is_refused(logits: dict[str, Tensor], labels: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Evidence(logits, labels)


class Toy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm, self.drop = nn.BatchNorm1d(3), nn.Dropout(0.5)

    def forward(self, inputs: dict[str, Tensor]) -> Outputs:
        seen = self.drop(self.norm(inputs["x"]))
        return Outputs({"a": seen, "b": 2 * seen, "fused": 3 * seen}, {"a": inputs["x"], "b": -inputs["x"]})


@pytest.mark.parametrize("training", [True, False])
def test_collecting_moves_nothing(training: bool) -> None:
    model = Toy().train(training)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    values = torch.randn(10, 3)
    batches = [({"x": values[start : start + 4]}, torch.zeros(len(values[start : start + 4]), dtype=torch.int64))
               for start in range(0, 10, 4)]  # fmt: skip
    first, second = collect(model, batches), collect(model, batches)
    assert model.training is training
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert torch.equal(first.logits["fused"], second.logits["fused"])
    assert torch.allclose(first.logits["b"], 2 * values / sqrt(1 + 1e-5), atol=1e-5)
    assert not first.logits["a"].requires_grad
    assert first.features is not None
    assert torch.equal(first.features["b"], -values)


def test_parts_that_rest_still_rest_after_a_clean_pass() -> None:
    model = Toy().train()
    model.norm.eval()
    collect(model, [({"x": torch.randn(4, 3)}, torch.zeros(4, dtype=torch.int64))])
    assert model.training and model.drop.training and not model.norm.training


def test_gradients_are_one_number_a_sample() -> None:
    given = evidence()
    with pytest.raises(ValueError, match=r"gradients have the shape \(17, 1\), expected \(17,\)"):
        replace(given, gradients=torch.ones(17, 1))
    assert balance_score([replace(evidence(num_samples=0), gradients=torch.ones(0))]).shape == (0,)


class Bare(Toy):
    def forward(self, inputs: dict[str, Tensor]) -> Any:
        return super().forward(inputs).logits


def test_a_model_may_return_its_logits_alone() -> None:
    batches = [({"x": torch.randn(4, 3)}, torch.zeros(4, dtype=torch.int64))]
    whole, bare = collect(Toy(), batches), collect(Bare(), batches)
    assert bare.features is None
    assert all(torch.equal(bare.logits[name], values) for name, values in whole.logits.items())


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (torch.zeros(4, 3), "the model returns a Tensor, expected the logits of each output by its name"),
        ({"a": [0.0], "b": torch.zeros(4, 3), "fused": torch.zeros(4, 3)}, "outputs of 'a' are a list"),
        ({"a": torch.zeros(4, 3), "fused": torch.zeros(4, 3)}, "at least two modalities"),
    ],
)
def test_what_a_model_returns_else_is_refused(returned: Any, message: str) -> None:
    model = nn.Identity().train()
    with pytest.raises(ValueError, match=message):
        collect(model, [(returned, torch.zeros(4, dtype=torch.int64))])
    assert model.training
    with pytest.raises(ValueError, match="there is no batch"):
        collect(model, [])


def test_evidence_survives_the_disk(tmp_path: Path) -> None:
    given = evidence(3)
    write_evidence(given, tmp_path / "evidence.safetensors")
    back = read_evidence(tmp_path / "evidence.safetensors", given.logits)
    assert list(back.logits) == list(given.logits)
    assert all(torch.equal(back.logits[name], given.logits[name]) for name in given.logits)
    assert given.features is not None
    assert back.features is not None
    assert all(torch.equal(back.features[name], given.features[name]) for name in given.features)
    with pytest.raises(ValueError, match="expected"):
        read_evidence(tmp_path / "evidence.safetensors", ["m0", "fused"])
    (tmp_path / "evidence.safetensors").write_bytes(b"short")
    with pytest.raises(ValueError, match="evidence.safetensors"):
        read_evidence(tmp_path / "evidence.safetensors", given.logits)
