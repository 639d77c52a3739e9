"""Tables for plots: each number once more, row by row, and the templates that draw them."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import Any

import polars as pl
import pytest
import yaml

from bss.evaluation.grid.inputs import ReportInputs
from bss.evaluation.grid.plots import plot_tables, validation_accuracies
from tests.evaluation.report.test_page import grid
from tests.helpers import ROOT

PLOTS: list[dict[str, dict[str, Any]]] = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]["report"]["plots"]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> ReportInputs:
    return grid(tmp_path_factory.mktemp("raw"))


@pytest.fixture(scope="module")
def tables(inputs: ReportInputs) -> dict[str, pl.DataFrame]:
    return plot_tables(inputs)


def test_learning_is_the_mean_over_the_seeds(inputs: ReportInputs, tables: dict[str, pl.DataFrame]) -> None:
    rows = list(inputs.history.iter_rows(named=True))
    assert len(tables["learning"]) == len(rows) / inputs.history["seed"].n_unique()
    for run, output, epoch, accuracy in tables["learning"].iter_rows():
        seeds = [
            row["validation_accuracy"]
            for row in rows
            if (f"{row['method']}-{row['scheduler']}", row["output"], row["epoch"] + 1) == (run, output, epoch)
        ]
        assert accuracy == pytest.approx(mean(seeds), abs=1e-6)


def test_confusion_is_what_occurs_and_begins_with_all_classes(
    inputs: ReportInputs, tables: dict[str, pl.DataFrame]
) -> None:
    fused = inputs.predictions.filter(pl.col("output") == "fused")
    pairs = Counter(fused.select("method", "scheduler", "label", "prediction").iter_rows())
    assert len(tables["confusion"]) == len(pairs), "every class is met, so that the diagonal occurs"
    for run, predicted, actual, share in tables["confusion"].iter_rows():
        method, scheduler = run.split("-", 1)
        of_class = [number for key, number in pairs.items() if key[:3] == (method, scheduler, int(actual))]
        count = pairs[method, scheduler, int(actual), int(predicted)]
        assert share == pytest.approx(count / sum(of_class), abs=1e-6)
    first = tables["confusion"].head(len(inputs.classes))
    assert first["actual"].to_list() == first["predicted"].to_list() == list(inputs.classes)


def test_a_class_without_test_pairs_keeps_its_place(inputs: ReportInputs) -> None:
    without = replace(inputs, predictions=inputs.predictions.filter(pl.col("label") != 3))
    confusion = plot_tables(without)["confusion"]
    assert confusion.filter(pl.col("actual") == "3")["share"].sum() == 0
    assert confusion["actual"][:10].to_list() == list(inputs.classes)


def test_pacing_begins_with_epoch_one(inputs: ReportInputs, tables: dict[str, pl.DataFrame]) -> None:
    assert tables["pacing"]["epoch"].to_list() == [epoch + 1 for epoch in inputs.pacing["epoch"]]
    assert tables["pacing"]["fraction"].to_list() == pytest.approx(inputs.pacing["fraction"].to_list(), abs=1e-6)


def test_scores_are_counted_in_bins(inputs: ReportInputs, tables: dict[str, pl.DataFrame]) -> None:
    damaged = dict(inputs.manifest.select("index", "damaged").iter_rows())
    scored = [(damaged[index], score) for index, score in inputs.scores.select("index", "balance_score").iter_rows()]
    for name, low, high, share in tables["scores"].iter_rows():
        group = [score for is_damaged, score in scored if is_damaged == (name == "damaged")]
        inside = [score for score in group if low <= score < high or score == high == 1]
        assert share == pytest.approx(len(inside) / len(group), abs=1e-6)
    assert tables["scores"].group_by("damaged").agg(pl.col("share").sum())["share"].to_list() == pytest.approx([1, 1])


def test_both_ends_of_the_range_of_scores_have_a_bin(inputs: ReportInputs) -> None:
    ends = inputs.scores.head(2).with_columns(balance_score=pl.Series([-1.0, 1.0]))
    scores = plot_tables(replace(inputs, scores=ends))["scores"].sort("low")
    assert scores["low"].to_list() == [-1.0, 0.9]
    assert scores["high"].to_list() == [-0.9, 1.0]


@pytest.mark.parametrize("keep", ["best", "last"])
def test_validation_accuracy_is_of_the_kept_epoch(inputs: ReportInputs, keep: str) -> None:
    found = validation_accuracies(inputs, keep)
    assert set(found) == {"joint"}, "a modality alone has no fused output"
    for scheduler, accuracies in found["joint"].items():
        fused = inputs.history.filter(method="joint", scheduler=scheduler, output="fused").sort("epoch")
        runs = {str(seed): run["validation_accuracy"].to_list() for (seed,), run in fused.group_by("seed")}
        expected = {seed: max(run) if keep == "best" else run[-1] for seed, run in runs.items()}
        assert accuracies == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("plot", PLOTS, ids=lambda plot: Path(next(iter(plot))).stem)
def test_every_table_has_a_template_that_finds_its_columns(
    plot: dict[str, dict[str, Any]], tables: dict[str, pl.DataFrame]
) -> None:
    from dvc_render.vega import VegaRenderer  # type: ignore[import-untyped]

    [(path, properties)] = plot.items()
    rows = [{**row, "rev": "workspace"} for row in tables[Path(path).stem].iter_rows(named=True)]
    named = {key: value for key, value in properties.items() if key != "cache"}
    spec = VegaRenderer(rows, path, template_dir=str(ROOT / ".dvc/plots"), **named).get_filled_template()
    assert {place["field"] for place in fields(spec)} == rows[0].keys()
    assert "<DVC" not in json.dumps(spec), "what stands for something was filled in"
    assert spec["title"]["text"] == properties["title"]


def test_every_table_is_plotted(tables: dict[str, pl.DataFrame]) -> None:
    assert {path for plot in PLOTS for path in plot} == {f"reports/plots/{name}.csv" for name in tables}


def fields(part: Any) -> list[dict[str, Any]]:
    """Every part of a plot that names a column."""
    if isinstance(part, list):
        return [place for each in part for place in fields(each)]
    if not isinstance(part, dict):
        return []
    own = [part] if "field" in part else []
    return own + [place for name, each in part.items() if name != "values" for place in fields(each)]
