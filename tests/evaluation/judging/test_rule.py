"""The decision rule: weights against brute force, and what a judgement says under each rule."""

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from bss.encoders.mlp import MLP
from bss.evaluation.artifacts import as_judged
from bss.evaluation.judging.judgement import Judgement, judge
from bss.evaluation.judging.rule import best_weights, summed, weighted_mean
from bss.model import build_model
from bss.training.methods.joint import Joint
from bss.training.methods.unimodal import Unimodal
from bss.training.runtime import Runtime
from bss.types import Split
from tests.helpers.toy import SETTINGS, packed_toy


def drawn(number: int, seed: int, num_samples: int = 40) -> tuple[dict[str, Any], Any]:
    generator = np.random.default_rng(seed)
    labels = generator.integers(3, size=num_samples)
    found = {}
    for modality in range(number):
        logits = generator.normal(size=(num_samples, 3)) + (1.5 if modality == 1 else 0.4) * np.eye(3)[labels]
        found[f"m{modality}"] = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return found, labels


def num_right(probabilities: dict[str, Any], labels: Any, weights: Any) -> int:
    mean = sum(weight * rows for weight, rows in zip(weights, probabilities.values(), strict=True))
    return sum(int(max(range(3), key=lambda c: row[c]) == label) for row, label in zip(mean, labels, strict=True))


@pytest.mark.parametrize("number", [2, 3])
@pytest.mark.parametrize("seed", range(4))
def test_the_weights_are_those_of_brute_force(number: int, seed: int) -> None:
    probabilities, labels = drawn(number, seed)
    grid = [[part / 10 for part in parts] for parts in product(range(11), repeat=number) if sum(parts) == 10]
    grid.append([1 / number] * number)
    best = max(num_right(probabilities, labels, weights) for weights in grid)
    winners = [weights for weights in grid if num_right(probabilities, labels, weights) == best]
    nearest = min(sum((weight - 1 / number) ** 2 for weight in weights) for weights in winners)
    found = list(best_weights(probabilities, labels).values())
    assert sum(found) == pytest.approx(1)
    assert num_right(probabilities, labels, found) == best
    assert sum((weight - 1 / number) ** 2 for weight in found) == pytest.approx(nearest)
    assert best_weights(probabilities, labels) == best_weights(probabilities, labels)


def test_a_tie_goes_to_equal_weights() -> None:
    probabilities, labels = drawn(3, 0)
    same = dict.fromkeys(probabilities, probabilities["m1"])
    assert best_weights(same, labels) == pytest.approx(dict.fromkeys(("m0", "m1", "m2"), 1 / 3))


def test_many_modalities_take_larger_steps() -> None:
    probabilities, labels = drawn(12, 0)
    found = best_weights(probabilities, labels)
    assert len(found) == 12
    assert sum(found.values()) == pytest.approx(1)


def test_no_sample_is_refused() -> None:
    with pytest.raises(ValueError, match="weighted needs validation samples"):
        best_weights({"a": np.zeros((0, 3))}, np.zeros(0, dtype=int))


def test_the_sum_is_that_of_the_logits() -> None:
    logits = np.random.default_rng(0).normal(0, 20, (3, 50, 4))
    probabilities = [np.exp(z) / np.exp(z).sum(axis=1, keepdims=True) for z in logits]
    together = logits.sum(axis=0)
    together -= together.max(axis=1, keepdims=True)
    slow = np.exp(together) / np.exp(together).sum(axis=1, keepdims=True)
    assert np.allclose(summed(probabilities), slow)
    assert np.isfinite(summed([np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]])])).all()


def probabilities_of(judgement: Judgement, output: str) -> np.ndarray:
    rows: np.ndarray = judgement.predictions.filter(pl.col("output") == output)["probabilities"].to_numpy()
    return rows


def test_a_judgement_has_the_fusion_and_the_rule(tmp_path: Path) -> None:
    splits = packed_toy(tmp_path, 3)
    meta = splits[Split.TEST].meta
    model = build_model(meta, {name: MLP(width=8) for name in meta.modalities}, 0)
    given = (model, splits[Split.TEST], Joint(), 16, Runtime.start(SETTINGS))
    fused, added, all_added = judge(*given), judge(*given, "sum"), judge(*given, "sum_all")
    weighted = judge(*given, "weighted", splits[Split.VALIDATION])
    assert fused.rule == {"rule": "fused"}
    assert set(fused.metrics) == {*meta.modalities, "fused"}
    assert added.rule == {"rule": "sum"}
    outputs = {name: probabilities_of(fused, name) for name in fused.metrics}
    expected = [
        (added, summed(outputs[name] for name in meta.modalities)),
        (all_added, summed(outputs.values())),
        (weighted, weighted_mean(outputs, weighted.rule["weights"])),
    ]
    for judgement, together in expected:
        assert {name: judgement.metrics[name] for name in fused.metrics} == fused.metrics
        assert np.allclose(probabilities_of(judgement, "judged"), together)
        right = (together.argmax(axis=1) == splits[Split.TEST].labels).mean()
        assert judgement.metrics["judged"]["accuracy"] == pytest.approx(right)
    validation = judge(model, splits[Split.VALIDATION], Joint(), 16, Runtime.start(SETTINGS))
    probabilities = {name: probabilities_of(validation, name) for name in meta.modalities}
    assert weighted.rule["weights"] == best_weights(probabilities, splits[Split.VALIDATION].labels)
    alone = judge(model, splits[Split.TEST], Unimodal(), 16, Runtime.start(SETTINGS), "weighted")
    assert alone.rule == {}
    assert set(alone.metrics) == set(meta.modalities)


def test_tables_have_the_rule_in_the_place_of_the_fusion() -> None:
    cells = {"joint": ["a", "fused", "judged"], "unimodal": ["a"], "other": ["a", "fused"]}
    table = pl.DataFrame(
        [
            {"method": method, "scheduler": "random", "seed": 0, "output": output, "accuracy": float(place)}
            for method, outputs in cells.items()
            for place, output in enumerate(outputs)
        ]
    )
    rows = as_judged(table).select("method", "output", "accuracy").rows()
    assert ("joint", "fused", 2.0) in rows
    assert ("joint", "fused", 1.0) not in rows
    assert ("other", "fused", 1.0) in rows
    assert len(rows) == 5


@pytest.mark.parametrize("scale", [0.1, 1, 300])
def test_a_sum_of_logits_has_the_bits_of_the_formula(scale: float) -> None:
    """Predictions are compared byte for byte, so that another softmax would show in every report."""
    logits = scale * np.random.default_rng(0).normal(size=(3, 200, 17))
    each = np.exp(logits - logits.max(axis=2, keepdims=True))
    each /= each.sum(axis=2, keepdims=True)
    total = np.log(np.maximum(each, np.finfo(float).tiny)).sum(axis=0)
    odds = np.exp(total - total.max(axis=1, keepdims=True))
    np.testing.assert_array_equal(summed(each), odds / odds.sum(axis=1, keepdims=True))
