"""A comparison: what a row says, and the page of it."""

import json
import re
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from bss.evaluation.comparing.statistics import holm, paired_difference, sign_flip_p
from bss.evaluation.comparing.table import comparison_table, fused_runs
from bss.evaluation.comparing.variant import Variant
from bss.evaluation.grid.table import summary_table
from bss.evaluation.page.canvas import canvas, finish, name_rows, row_height
from bss.evaluation.study.comparison import Comparison
from bss.evaluation.study.page import write_comparison

BETAS = [Variant("learned", {"beta": beta}) for beta in (0.1, 0.5, 1.0)]
CRITERION = {"criteria": ["training_loss"]}
TWINS = [Variant("heuristic", {**CRITERION, "anti": anti}, "anti") for anti in (False, True)]
VARIANTS = [Variant("random"), *BETAS, *TWINS]
ACCURACY = {
    "random": [0.50, 0.52, 0.49, 0.51, 0.50],
    "learned-beta_0_1": [0.52, 0.53, 0.50, 0.53, 0.51],
    "learned-beta_0_5": [0.55, 0.58, 0.52, 0.56, 0.54],
    "learned-beta_1_0": [0.51, 0.50, 0.49, 0.52, 0.50],
    "heuristic-criteria_training_loss-anti_false": [0.50, 0.53, 0.49, 0.50, 0.51],
    "heuristic-criteria_training_loss-anti_true": [0.45, 0.44, 0.46, 0.43, 0.45],
}


def runs(method: str = "joint") -> pl.DataFrame:
    return pl.DataFrame(
        {
            "method": method, "scheduler": name, "seed": seed, "accuracy": accuracy, "macro_f1": accuracy - 0.01,
            "balanced_accuracy": accuracy - 0.02,
            "validation_accuracy": accuracy + 0.1, "num_steps": 100 + seed, "num_samples": 3200,
        }
        for name, values in ACCURACY.items()
        for seed, accuracy in enumerate(values)
    )  # fmt: skip


@pytest.fixture(scope="module")
def table() -> pl.DataFrame:
    shuffled = runs().sample(fraction=1, shuffle=True, seed=0)
    return comparison_table(shuffled, VARIANTS, "random", 0.95)


def test_names_and_labels_say_what_is_set() -> None:
    assert [variant.name for variant in VARIANTS] == list(ACCURACY)
    assert [variant.label for variant in VARIANTS] == [
        *("random", "learned, beta 0.1", "learned, beta 0.5", "learned, beta 1.0"),
        *("heuristic, training_loss", "heuristic, training_loss, anti"),
    ]
    paced = Variant("heuristic", {"pacing": {"name": "step", "start": 0.2}, "pacing.start": 0.3, "grow_epochs": 4})
    assert paced.label == "heuristic, step, start 0.3, grow_epochs 4"
    assert [variant.twin for variant in TWINS] == [TWINS[1], None]


def test_a_row_is_compared_with_the_baseline_of_the_same_seeds(table: pl.DataFrame) -> None:
    assert table["label"].to_list() == [variant.label for variant in VARIANTS]
    learned = table.row(2, named=True)
    found = paired_difference(ACCURACY["learned-beta_0_5"], ACCURACY["random"], 0.95)
    assert (learned["difference"], learned["low"], learned["high"]) == pytest.approx(
        (found.mean, found.low, found.high)
    )
    assert learned["accuracy"] == pytest.approx(0.55)
    assert learned["num_steps"] == 102
    assert table["difference"].null_count() == table["p_holm"].null_count() == 1, "the baseline has none"
    p = [sign_flip_p(values, ACCURACY["random"]) for values in list(ACCURACY.values())[1:]]
    assert table["p_holm"].drop_nulls().to_list() == pytest.approx(holm(p).tolist())


def test_folds_are_paired_after_the_mean_over_their_seeds() -> None:
    """Of five folds with two seeds each, the second half a point better everywhere."""
    of_folds = pl.concat(
        runs().rename({"seed": "fold"}).with_columns(seed=pl.lit(seed), accuracy=pl.col("accuracy") + seed / 200)
        for seed in (0, 1)
    )
    row = comparison_table(of_folds, VARIANTS, "random", 0.95).row(2, named=True)
    found = paired_difference(ACCURACY["learned-beta_0_5"], ACCURACY["random"], 0.95, overlap=1 / 4)
    assert row["num_seeds"] == found.num_pairs == 5
    assert (row["difference"], row["low"]) == pytest.approx((found.mean, found.low))
    assert row["accuracy"] == pytest.approx(0.5525)


def test_a_row_is_compared_with_its_twin(table: pl.DataFrame) -> None:
    row = table.row(4, named=True)
    assert row["twin_difference"] == pytest.approx(0.506 - 0.446)
    assert table["twin_difference"].null_count() == len(table) - 1


def test_every_method_has_its_own_baseline() -> None:
    better = runs("aug").with_columns(pl.col("accuracy") + 0.2)
    table = comparison_table(pl.concat([runs(), better]), VARIANTS, "random", 0.95)
    assert table["method"].to_list() == ["joint"] * 6 + ["aug"] * 6
    first, second = table["difference"][1:6].to_list(), table["difference"][7:].to_list()
    assert first == pytest.approx(second)
    assert table["first_difference"].to_list()[1:6] == pytest.approx(first)
    assert table["first_difference"].to_list()[6:] == pytest.approx([0.2, *(value + 0.2 for value in first)])
    assert table["first_difference"].null_count() == 1, "the first row"


@pytest.mark.parametrize(("keep", "expected"), [("best", 0.9), ("last", 0.7)])
def test_the_validation_accuracy_is_that_of_the_kept_epoch(keep: str, expected: float) -> None:
    run = {"method": "joint", "scheduler": "random", "seed": 0}
    metrics = pl.DataFrame([{**run, "output": output, "accuracy": 0.5} for output in ("fused", "audio")])
    history = pl.DataFrame(
        {**run, "output": output, "epoch": epoch, "validation_accuracy": accuracy, "validation_loss": 1 - accuracy}
        for output in ("fused", "audio")
        for epoch, accuracy in [(1, 0.9), (2, 0.7), (0, 0.6)]
    )
    assert fused_runs(metrics, history, keep).to_dicts() == [
        {**run, "output": "fused", "accuracy": 0.5, "validation_accuracy": expected, "accuracy_of_audio": 0.5}
    ]


def test_methods_are_compared_with_the_first_and_ranked(tmp_path: Path) -> None:
    beside = {"accuracy_of_audio": pl.col("accuracy") / 2, "accuracy_by_own_rule": pl.lit(None, pl.Float64)}
    better = runs("aug").with_columns(pl.col("accuracy") + 0.2)
    both = pl.concat([runs(), better]).with_columns(**beside)
    table = comparison_table(both, VARIANTS, "random", 0.95)
    write_comparison(given(table, runs=both), tmp_path)
    lines = (tmp_path / "table.txt").read_text().splitlines()
    assert max(map(len, lines)) <= 80
    assert next(line for line in lines if line.startswith("row ")).split("  ")[-1] == "to random [95 % t]"
    row = next(line for line in lines if line.startswith("aug · random"))
    assert "+20.0 [-]" in row
    head, _, *cells = (tmp_path / "table.md").read_text().splitlines()
    assert "| of audio | by own rule |" in head
    assert "| 25.2 |" in cells[0]
    page = (tmp_path / "page.html").read_text()
    assert "<h3>Ranks</h3>" in page
    assert "mean rank over 5 seeds" in page
    write_comparison(given(table, runs=both.filter(pl.col("seed") < 4)), tmp_path)
    assert "<h3>Ranks</h3>" not in (tmp_path / "page.html").read_text()


def given(table: pl.DataFrame, **values: Any) -> Comparison:
    return Comparison(
        **{
            "name": "betas", "about": ("What beta does.",), "dataset": "toy", "notes": ("<b>made up</b>",),
            "remarks": ("The training may be too short.",),
            "num_pairs": {"train": 96, "test": 30}, "runs": runs(), "variants": VARIANTS, "table": table,
            "baseline": "random", "confidence": 0.95, "command": "bss compare betas",
            "parameters": {"train": {"epochs": 3}}, "rule": "fused",
            **values,
        }
    )  # fmt: skip


def test_the_results_are_a_page_and_three_tables(tmp_path: Path, table: pl.DataFrame) -> None:
    write_comparison(given(table), tmp_path)
    page = (tmp_path / "page.html").read_text()
    assert "bss compare betas" in page
    assert "&lt;b&gt;made up" in page
    for written in (page, (tmp_path / "table.txt").read_text()):
        assert "The training may be too short." in written
    assert page.count("<svg") == 2, "all rows, and the curve of beta"
    assert "learned: beta" in page
    lines = (tmp_path / "table.txt").read_text().splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0] == "learned, beta 0.5 beats random order by +4.6 points [+3.2, +6.0]; so do 1 more."
    assert "+4.6 [+3.2, +6.0]" in next(line for line in lines[2:] if line.startswith("learned, beta 0.5"))
    markdown = (tmp_path / "table.md").read_text().splitlines()
    assert len(markdown) == 2 + len(VARIANTS)
    assert "to its anti" in markdown[0]
    assert "+6.0 [" in markdown[6]
    rows = json.loads((tmp_path / "table.json").read_text())
    assert rows[2]["difference"] == pytest.approx(0.046)
    kept = pl.read_csv(tmp_path / "runs.csv")
    assert kept["row"].unique(maintain_order=True)[0] == "random"
    assert kept["accuracy"].to_list() == runs()["accuracy"].to_list()
    before = page
    write_comparison(given(table), tmp_path)
    assert (tmp_path / "page.html").read_text() == before, "the same bytes"


def test_a_baseline_alone_has_nothing_to_draw(tmp_path: Path) -> None:
    alone = comparison_table(runs().filter(pl.col("scheduler") == "random"), VARIANTS[:1], "random", 0.95)
    write_comparison(given(alone, variants=VARIANTS[:1]), tmp_path)
    assert "<svg" not in (tmp_path / "page.html").read_text()


@pytest.mark.parametrize("num_seeds", [1, 2, 3, 5])
def test_what_so_few_seeds_cannot_show_is_on_the_page_and_in_the_terminal(tmp_path: Path, num_seeds: int) -> None:
    few = runs().filter(pl.col("seed") < num_seeds)
    table = comparison_table(few, VARIANTS, "random", 0.95)
    write_comparison(given(table, runs=few), tmp_path)
    page, text = (" ".join((tmp_path / name).read_text().split()) for name in ("page.html", "table.txt"))
    for written in (page, text):
        assert "Holm p" not in written, "no test is possible"
        assert f"cannot give less than {2.0 ** (1 - num_seeds):.2g}; from 6 seeds on" in written
        assert ("One seed gives no interval" in written) == (num_seeds == 1)
        assert ("The seeds share one split of the data" in written) == (num_seeds > 1)
    assert ("Bar: its 95 % t interval" in page) == (num_seeds > 1)


def test_with_enough_seeds_the_p_value_is_shown(tmp_path: Path) -> None:
    many = pl.concat([runs(), runs().with_columns(pl.col("seed") + 5)])
    write_comparison(given(comparison_table(many, VARIANTS, "random", 0.95), runs=many), tmp_path)
    assert "Holm p" in (tmp_path / "table.txt").read_text()
    assert "| 0.010 |" in (tmp_path / "table.md").read_text()


def test_a_row_has_the_same_name_in_the_report_of_the_study(tmp_path: Path, table: pl.DataFrame) -> None:
    comparison = given(table)
    write_comparison(comparison, tmp_path)
    names = pl.read_csv(tmp_path / "runs.csv")["row"].unique(maintain_order=True)
    metrics = pl.DataFrame({"output": "fused", "num_samples": 1}).join(
        runs().drop("num_samples"), how="cross"
    ).with_columns(mean_average_precision=0.5, auc=0.5)  # fmt: skip
    report = summary_table(metrics, "random", 0.95, comparison.labels)
    assert report["run"].to_list() == names.to_list()
    assert report["low"].to_list() == pytest.approx(table["low"].to_list()), "and the same interval"


def test_rows_that_differ_in_the_middle_of_long_names_have_two_names_in_the_drawing() -> None:
    ends = "prediction_similarity and training_loss and confidence"
    names = [f"heuristic, {ends}, beta {beta}, {ends}" for beta in (0.1, 0.5)]
    with canvas(height=row_height(names) * 2) as (figure, axes):
        name_rows(axes, names)
        drawing = finish(figure, "Rows").drawing
    assert len(re.findall("beta 0.1|beta 0.5", drawing)) == 2
    assert row_height(names) > row_height(["random"])
