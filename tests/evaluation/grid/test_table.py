from collections.abc import Mapping, Sequence
from math import isnan

import polars as pl
import pytest

from bss.evaluation.grid.table import summary_table


def metrics(fused: Mapping[str, Sequence[float]], method: str = "joint", alone: Sequence[float] = ()) -> pl.DataFrame:
    """A run a scheduler and seed; audio inside each model has half the fused accuracy."""
    rows = [
        (method, scheduler, seed, output, share * accuracy, 62 if scheduler == "heuristic" else 100)
        for scheduler, accuracies in fused.items()
        for seed, accuracy in enumerate(accuracies)
        for output, share in {"audio": 0.5, "fused": 1.0}.items()
    ]
    rows += [("unimodal", "random", seed, "audio", accuracy, 100) for seed, accuracy in enumerate(alone)]
    frame = pl.DataFrame(rows, ["method", "scheduler", "seed", "output", "accuracy", "num_steps"], orient="row")
    qualities = {
        name: pl.col("accuracy") for name in ("balanced_accuracy", "macro_f1", "mean_average_precision", "auc")
    }
    return frame.with_columns(**qualities, num_samples=32 * pl.col("num_steps"))


CLEAR = {"random": (0.80, 0.81, 0.79), "heuristic": (0.7, 0.7, 0.7), "learned": (0.86, 0.87, 0.85)}
UNCLEAR = {"random": (0.80, 0.84, 0.79), "learned": (0.86, 0.82, 0.81)}


def test_a_rule_of_the_methods_own_has_a_row_beside_that_of_all() -> None:
    common = metrics(CLEAR)
    fused = common.filter(pl.col("output") == "fused")
    own = fused.with_columns(output=pl.lit("own"), accuracy=pl.col("accuracy") + 0.01)
    table = summary_table(pl.concat([common, own]), "random", 0.95)
    found = {row["run"]: row for row in table.to_dicts()}
    assert set(found) == {f"{name}{rule}" for name in CLEAR for rule in ("", ", its own rule")}
    for name in CLEAR:
        both = found[name], found[f"{name}, its own rule"]
        assert both[1]["accuracy"] == pytest.approx(both[0]["accuracy"] + 0.01)
        assert both[1]["difference"] == pytest.approx(both[0]["difference"]) or name == "random"
    assert "inside_own" not in table.columns


def test_rows_are_the_runs_then_the_modalities_alone() -> None:
    table = summary_table(metrics(CLEAR, alone=(0.6, 0.5, 0.7)), "random", 0.95)
    names = ["random", "heuristic", "learned", "audio alone"]
    assert table["run"].to_list() == names
    assert table["inside_audio"].to_list() == pytest.approx([0.4, 0.35, 0.43, None])
    assert table["accuracy"].to_list() == pytest.approx([0.8, 0.7, 0.86, 0.6])
    assert table["num_steps"].to_list() == [100, 62, 100, 100]


def test_differences_are_paired_by_seed_within_the_method() -> None:
    other = metrics({"random": (0.1, 0.2, 0.3), "learned": (0.3, 0.2, 0.1)}, method="sum")
    shuffled = pl.concat([metrics(CLEAR), other]).sample(fraction=1, shuffle=True, seed=1)
    found = {row["run"]: row for row in summary_table(shuffled, "random", 0.95).to_dicts()}
    assert found["joint · learned"]["difference"] == pytest.approx(0.06)
    assert isnan(found["joint · learned"]["low"]), "all seeds differ by the same"
    assert found["sum · learned"]["difference"] == pytest.approx(0.0)
    assert found["sum · learned"]["high"] == pytest.approx(4.302653 * 0.2 / 3**0.5)
    assert found["sum · random"]["difference"] is None


def test_only_shared_seeds_are_paired() -> None:
    kept = metrics(UNCLEAR).filter((pl.col("scheduler") != "learned") | (pl.col("seed") > 0))
    row = summary_table(kept, "random", 0.95).row(by_predicate=pl.col("scheduler") == "learned", named=True)
    assert row["difference"] == pytest.approx((0.82 - 0.84 + 0.81 - 0.79) / 2)
