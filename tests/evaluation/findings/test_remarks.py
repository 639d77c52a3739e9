"""Remarks: each where it applies, and none where it does not."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from bss.evaluation.findings.preferences import class_share
from bss.evaluation.findings.remarks import budget_remark, chance_remark, preference_remark, remarks, split_remark
from bss.evaluation.grid.inputs import ReportInputs
from bss.evaluation.page.template import rendered
from bss.evaluation.report import results, summary
from tests.evaluation.report.test_page import grid

EPOCH = pl.col("epoch")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> ReportInputs:
    return grid(tmp_path_factory.mktemp("raw"))


@pytest.mark.parametrize(
    ("curve", "is_said"),
    [(0.5 + 0.05 * EPOCH, True), (0.9 - (EPOCH - 2).abs() * 0.01, False), (pl.lit(0.8), False)],
    ids=["rising", "falling", "flat"],
)
def test_a_budget_is_too_small_where_the_last_epoch_is_best(
    made: ReportInputs, curve: pl.Expr, is_said: bool
) -> None:
    history = made.history.with_columns(validation_accuracy=curve, validation_loss=1 - curve)
    found = list(budget_remark(history))
    assert bool(found) == is_said
    if found:
        assert "9 of 9 runs were best in their last epoch" in found[0]
        assert (
            "over the last 2 epochs validation accuracy still changed by +10.0 points. Raise train.epochs" in found[0]
        )


def test_a_last_epoch_that_is_best_by_a_hair_is_no_call_for_more(made: ReportInputs) -> None:
    history = made.history.with_columns(validation_accuracy=0.9 + 0.001 * EPOCH)
    (found,) = budget_remark(history)
    assert found.endswith("+0.2 points. More epochs may change little; a run with more train.epochs would tell.")


def test_a_last_epoch_without_a_step_is_no_call_for_more(made: ReportInputs) -> None:
    """A method has ended its training, and what it left is the best."""
    ended = (EPOCH.max() == EPOCH).cast(pl.Int64)
    history = made.history.with_columns(validation_accuracy=0.5 + 0.05 * EPOCH, num_steps=EPOCH + 1 - ended)
    assert list(budget_remark(history)) == []


def test_a_training_of_one_epoch_has_no_last_one(made: ReportInputs) -> None:
    assert list(budget_remark(made.history.filter(EPOCH == 0))) == []


@pytest.mark.parametrize(
    ("validation", "num_pairs", "is_said"),
    [(0.99, 1000, True), (0.99, 30, False), (0.9, 1000, False), (0.7, 1000, True), (1.0, 1000, True)],
)
def test_unlike_splits_are_named_where_chance_does_not_explain_them(
    made: ReportInputs, validation: float, num_pairs: int, is_said: bool
) -> None:
    history = made.history.with_columns(validation_accuracy=pl.lit(validation))
    counts = {"train": 400, "validation": num_pairs, "test": num_pairs}
    found = list(split_remark(replace(made, history=history, num_pairs=counts)))
    assert bool(found) == is_said
    if found:
        assert f"{100 * validation:.1f} % and 90." in found[0]


def test_a_modality_below_the_majority_class_is_marked(made: ReportInputs) -> None:
    assert list(chance_remark(made)) == []
    accuracy = pl.when(output="audio").then(0.05).otherwise("accuracy")
    weak = replace(made, metrics=made.metrics.with_columns(accuracy=accuracy))
    (found,) = chance_remark(weak)
    assert found.endswith("audio alone (5.0 %) and audio inside every fused model.")
    assert found in remarks(weak)
    worse = made.metrics.with_columns(
        accuracy=pl.when(scheduler="learned", output="fused").then(0.05).otherwise("accuracy")
    )
    (of_fusion,) = chance_remark(replace(made, metrics=worse))
    assert of_fusion.endswith(": learned (5.0 %).")
    page = rendered("weak", "weak", (), [summary.section(weak), results.section(weak)])
    assert found.replace(" %", "\N{NO-BREAK SPACE}%") in page
    assert page.count("<td>5.0 ▼</td>") == 4, "inside three runs, and alone"
    assert "<td>5.0 ± 0.0 ▼</td>" in page
    assert "<td>78." in page


@pytest.mark.parametrize("num_classes", [2, 10, 101])
def test_the_share_between_classes_is_not_that_of_chance(num_classes: int) -> None:
    rng = np.random.default_rng(0)
    label = np.arange(505) % num_classes
    manifest = pl.DataFrame({"index": range(505), "label": label, "class": [f"c{one}" for one in label]})
    noise = rng.normal(size=505)
    for known, low, high in ((0.0, 0.0, 0.06), (1.0, 0.35, 0.65), (100.0, 0.99, 1.0)):
        of_class = rng.normal(size=num_classes) if num_classes > 2 else np.array([-1.0, 1.0])
        scores = pl.DataFrame({"seed": 0, "index": range(505), "balance_score": noise + known * of_class[label]})
        (share,) = class_share(scores, manifest)
        assert low <= share <= high
    constant = pl.DataFrame({"seed": 0, "index": range(505), "balance_score": 0.0})
    assert class_share(constant, manifest) == [0.0]


def test_classes_that_the_score_prefers_are_named(made: ReportInputs) -> None:
    liked = made.scores.with_columns(balance_score=pl.col("balance_score") + 0.5 * (pl.col("label") == 3))
    (found,) = preference_remark(replace(made, scores=liked))
    assert "Highest on average: 3 (+" in found
    alike = made.scores.with_columns(balance_score=(pl.col("index") * 37 % 101) / 101)
    assert list(preference_remark(replace(made, scores=alike))) == []
