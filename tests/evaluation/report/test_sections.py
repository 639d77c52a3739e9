"""What the sections of the report say, against slow and obvious references."""

import json
import subprocess
from dataclasses import replace
from itertools import product
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import polars as pl
import pytest

from bss.evaluation.findings.balance import accuracy_gaps, balance_verdict, discrepancy_ratios
from bss.evaluation.grid import provenance
from bss.evaluation.grid.looks import Look, looks
from bss.evaluation.page.section import Charts, Table
from bss.evaluation.report import imbalance, summary
from bss.evaluation.report.changes import change_counts, changed_pairs, changed_predictions
from bss.evaluation.report.cost import costs
from bss.evaluation.report.draws import drawn_pairs
from bss.evaluation.report.imbalance import gap_charts, ratio_charts
from bss.evaluation.report.learning import settled_limits
from tests.evaluation.report.test_page import PICTURE, SOUND, grid

JOINT = Look("joint", "learned", "learned", "#0b0b01", ())


def history(modalities: list[str], seeds: int = 2) -> pl.DataFrame:
    """Three epochs together, and five of each modality alone."""
    rng = np.random.default_rng(1)
    together = product(["joint"], ["random", "learned"], range(seeds), range(3), [*modalities, "fused"])
    alone = product(["unimodal"], ["random"], range(seeds), range(5), modalities)
    runs = [*together, *alone]
    frame = pl.DataFrame(runs, schema=["method", "scheduler", "seed", "epoch", "output"], orient="row")
    values = {f"validation_{name}": rng.random(len(runs)) for name in ("accuracy", "confidence")}
    return frame.with_columns(**{name: pl.Series(column) for name, column in values.items()})


@pytest.mark.parametrize("modalities", [["audio", "image"], ["audio", "image", "text", "depth"]])
def test_a_ratio_is_a_confidence_over_the_mean_of_the_others(modalities: list[str]) -> None:
    table = history(modalities)
    confidence = {row[:5]: row[6] for row in table.iter_rows()}
    ratios = discrepancy_ratios(table, modalities).select("method", "scheduler", "seed", "epoch", "output", "ratio")
    assert len(ratios) == 2 * 2 * 3 * len(modalities)
    for *run, output, ratio in ratios.iter_rows():
        others = [confidence[(*run, other)] for other in modalities if other != output]
        assert ratio == pytest.approx(confidence[(*run, output)] / mean(others))


def test_a_gap_is_to_the_modality_alone_with_as_many_epochs_left() -> None:
    table = history(["audio", "image"])
    accuracy = {row[:5]: row[5] for row in table.iter_rows()}
    gaps = accuracy_gaps(table, ["audio", "image"]).select("method", "scheduler", "seed", "epoch", "output", "gap")
    assert len(gaps) == 2 * 2 * 3 * 2
    for method, scheduler, seed, epoch, output, gap in gaps.iter_rows():
        alone = accuracy["unimodal", "random", seed, epoch + 2, output]
        assert gap == pytest.approx(alone - accuracy[method, scheduler, seed, epoch, output])
    is_cut = (pl.col("scheduler") == "learned") & (pl.col("epoch") == 2)  # as where a method ends its training early
    rest = gaps.filter(~is_cut & (pl.col("method") == "joint"))
    assert accuracy_gaps(table.filter(~is_cut), ["audio", "image"]).select(gaps.columns).equals(rest)


def test_a_chart_a_modality_but_one_for_two() -> None:
    for modalities, num_ratios in ((["audio", "image"], 1), (["audio", "image", "text"], 3)):
        table = history(modalities)
        assert len(ratio_charts(discrepancy_ratios(table, modalities), [JOINT], modalities)) == num_ratios
        assert len(gap_charts(accuracy_gaps(table, modalities), [JOINT], modalities)) == len(modalities)


@pytest.mark.parametrize(
    ("confidence", "says"),
    [(0.3, "image leads: it gives the true class 2.00 times"), (0.58, "nearly balanced")],
)
def test_the_section_of_imbalance_says_who_leads(tmp_path: Path, confidence: float, says: str) -> None:
    inputs = grid(tmp_path)
    of_audio = pl.when(pl.col("output") == "audio").then(confidence).otherwise(0.6)
    ratios = discrepancy_ratios(inputs.history.with_columns(validation_confidence=of_audio), inputs.modalities)
    found = balance_verdict(ratios, inputs.table, inputs.modalities, inputs.baseline)
    assert found is not None
    assert says in found.sentence
    assert "audio on test: 78." in found.trust
    assert "+0.0 points." in found.trust


def test_without_outputs_of_two_modalities_there_is_no_balance() -> None:
    table = history(["audio", "image"]).filter((pl.col("output") == "fused") | (pl.col("method") == "unimodal"))
    ratios = discrepancy_ratios(table, ["audio", "image"])
    assert ratios.is_empty()
    assert balance_verdict(ratios, pl.DataFrame(), ["audio", "image"], "random") is None
    assert ratio_charts(ratios, [JOINT], ["audio", "image"]) == []
    assert gap_charts(accuracy_gaps(table, ["audio", "image"]), [JOINT], ["audio", "image"]) == []


def test_the_section_of_imbalance_has_the_deviation_of_every_run(tmp_path: Path) -> None:
    inputs = grid(tmp_path)
    assert not [block for block in imbalance.section(inputs).blocks if isinstance(block, Table)]
    of_run = pl.when(pl.col("scheduler") == "random").then(0.1 + 0.1 * pl.col("seed")).otherwise(None)
    metrics = inputs.metrics.with_columns(equilibrium_deviation=of_run)
    [table] = [b for b in imbalance.section(replace(inputs, metrics=metrics)).blocks if isinstance(b, Table)]
    fused = metrics.filter(pl.col("output") == "fused", pl.col("scheduler") == "random")
    assert len(table.rows) == fused["method"].n_unique()
    mean = 0.1 + 0.1 * sum(inputs.seeds) / len(inputs.seeds)
    assert {value for _, value in table.rows} == {f"{mean:.3f}"}
    assert "from 1/2. 0: all alike; 0.5: one alone." in table.note


def test_changes_are_those_of_a_loop_over_the_pairs(tmp_path: Path) -> None:
    inputs = grid(tmp_path)
    changes = changed_predictions(inputs.predictions, inputs.baseline)
    predicted = {
        (row["scheduler"], row["seed"], row["id"]): (row["prediction"], row["label"])
        for row in inputs.predictions.to_dicts()
        if row["output"] == "fused"
    }
    styles = looks(inputs.metrics, inputs.baseline)
    for name, *cells in change_counts(changes, styles):
        counts = dict.fromkeys(product([True, False], repeat=2), 0)
        for (scheduler, seed, pair), (taken, label) in predicted.items():
            if scheduler == name:
                counts[taken == label, predicted["random", seed, pair][0] == label] += 1
        fixed, broken = counts[True, False], counts[False, True]
        assert cells[:3] == [f"{fixed}", f"{broken}", f"{fixed - broken:+}"]
        assert cells[3:] == [f"{counts[True, True]}", f"{counts[False, False]}"]
    named = changed_pairs(changes, styles, inputs.classes)
    assert {change for _, change, *_ in named} == {"fixed", "broken"}
    for run, change, pair, class_name, seeds, _ in named:
        right = {
            name: [predicted[name, seed, pair][0] == int(class_name) for seed in range(3)] for name in ("random", run)
        }
        gains = [here - there for here, there in zip(right[run], right["random"], strict=True)]
        assert sum(gains) * (1 if change == "fixed" else -1) >= 2
        assert seeds == f"{gains.count(1 if change == 'fixed' else -1)} of 3"


def test_costs_are_to_the_baseline() -> None:
    row = {"method": "joint", "output": "fused"}
    table = pl.DataFrame(
        [
            row | {"run": name, "scheduler": name, "num_steps": 7, "num_samples": num}
            for name, num in (("random", 1000), ("learned", 500), ("heuristic", 250))
        ]
    )
    alone = {"method": "unimodal", "output": "audio", "run": "audio alone", "scheduler": "random"}
    table = pl.concat([table, pl.DataFrame([alone | {"num_steps": 9, "num_samples": 1200}])], how="diagonal")
    assert costs(table, "random") == [
        ("random", "7", "1,000", "-"),
        ("learned", "7", "500", "50.0"),
        ("heuristic", "7", "250", "25.0"),
        ("each modality alone", "9", "1,200", "120.0"),
    ]


def test_the_pairs_drawn_most_and_least_are_named(tmp_path: Path) -> None:
    inputs = grid(tmp_path, kinds={"audio": SOUND, "image": PICTURE}, seeds=(0, 1))
    styles = looks(inputs.metrics, inputs.baseline)
    of_learned = [pair for pair in drawn_pairs(inputs.draws, inputs.scores, inputs.manifest, styles)
        if pair[0] == "learned"]  # fmt: skip
    counts: dict[str, list[int]] = {}
    for row in inputs.draws.filter(pl.col("scheduler") == "learned").to_dicts():
        counts.setdefault(row["id"], []).append(row["num_draws"])
    means = sorted((mean(values) for values in counts.values()), reverse=True)
    assert [num_draws for _, _, _, num_draws, _ in of_learned] == [f"{value:.1f}" for value in means[:3] + means[-3:]]
    assert all(f"{mean(counts[pair]):.1f}" == num_draws for _, pair, _, num_draws, _ in of_learned)
    alike = inputs.draws.with_columns(num_draws=pl.lit(5))
    assert drawn_pairs(alike, inputs.scores, inputs.manifest, styles) == []


def test_the_commit_is_that_of_the_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def git(*arguments: str) -> Any:
        own = ["-c", "user.name=a", "-c", "user.email=a@b"]
        return subprocess.run(["git", *own, *arguments], check=True, capture_output=True, text=True).stdout.strip()

    monkeypatch.chdir(tmp_path)
    git("init", "-q")
    assert provenance.commit() == "-"
    Path("src").mkdir()
    Path("src/a.py").write_text("1")
    git("add", "."), git("commit", "-qm", "code")
    of_code = git("rev-parse", "--short=10", "HEAD")
    Path("notes.md").write_text("1")
    git("add", "."), git("commit", "-qm", "notes")
    assert provenance.commit() == of_code
    Path("src/a.py").write_text("2")
    assert provenance.commit() == f"{of_code} + changes"


def test_what_is_not_installed_has_no_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance, "PACKAGES", ("torch", "no-such-package"))
    assert set(provenance.versions()) == {"python", "torch"}
    assert json.dumps(provenance.versions())


def test_the_scale_of_a_learning_curve_is_that_of_what_follows_the_steep_epochs() -> None:
    epochs = pl.DataFrame({"epoch": range(1, 21)})
    curve = epochs.with_columns(low=90 - 60 * (-pl.col("epoch")).exp(), high=91.0, output=pl.lit("fused"))
    low, high = settled_limits(curve)
    assert low == pytest.approx(90 - 60 * np.exp(-6))
    assert high == 91


def test_a_rule_of_a_methods_own_has_a_bar_of_its_own_name(tmp_path: Path) -> None:
    inputs = grid(tmp_path, methods=("joint", "mla"))
    own = inputs.metrics.filter(method="mla", output="fused").with_columns(output=pl.lit("own"))
    inputs = replace(inputs, metrics=pl.concat([inputs.metrics, own]))
    (chart,) = (block.charts[0] for block in summary.section(inputs).blocks if isinstance(block, Charts))
    for name in ("mla · heuristic", "mla · heuristic, its own rule"):
        assert chart.drawing.count(f">{name}</text>") == 1, name
