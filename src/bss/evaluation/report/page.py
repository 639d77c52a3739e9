"""The page: every section drawn and worded, in one file that needs nothing beside it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
import yaml

from bss.evaluation.page.template import rendered
from bss.evaluation.page.words import interval, level, mean_sd, percent
from bss.evaluation.report.changes import change_charts, change_counts, changed_pairs, changed_predictions
from bss.evaluation.report.confusion import confusion_charts
from bss.evaluation.report.cost import cost_chart, costs
from bss.evaluation.report.curves import difference_chart, learning_charts, pacing_chart
from bss.evaluation.report.distributions import class_chart, damage_chart, spread_chart
from bss.evaluation.report.draws import draw_chart, draw_histograms, drawn_pairs
from bss.evaluation.report.headline import cautions, facts, verdicts, what_was_run
from bss.evaluation.report.imbalance import (
    LEAD,
    accuracy_gaps,
    balance_verdict,
    discrepancy_ratios,
    gap_charts,
    ratio_charts,
)
from bss.evaluation.report.inputs import ReportInputs
from bss.evaluation.report.looks import Look, looks
from bss.evaluation.report.table import QUALITIES, accuracy_inside, summary_table
from bss.files import write_text
from bss.types import FUSED, OWN

SECTIONS = (
    ("summary", "Summary"),
    ("results", "Results"),
    ("learning", "Learning"),
    ("imbalance", "Imbalance"),
    ("scores", "Scores"),
    ("examples", "Examples"),
    ("draws", "Draws"),
    ("pacing", "Pacing"),
    ("confusion", "Confusion"),
    ("changes", "Changes"),
    ("cost", "Cost"),
    ("repeat", "Repeat"),
)


def write_report(inputs: ReportInputs, out: Path) -> None:
    """Write the page; the same inputs give the same bytes. Folders of `out` are made."""
    write_text(render(inputs), out)


def render(inputs: ReportInputs) -> str:
    """The page as text."""
    return rendered(Path(__file__).with_name("page.html"), **_content(inputs))


def _content(inputs: ReportInputs) -> dict[str, Any]:
    table = summary_table(inputs.metrics, inputs.baseline, inputs.confidence)
    styles = looks(inputs.metrics, inputs.baseline)
    return {
        "inputs": inputs,
        "confidence": level(inputs.confidence),
        "sections": SECTIONS,
        "looks": styles,
        "what_was_run": what_was_run(inputs),
        "facts": facts(inputs),
        "verdicts": verdicts(table, inputs.baseline, inputs.confidence),
        "cautions": list(cautions(table)),
        "difference_chart": difference_chart(table, styles, inputs.baseline, inputs.confidence),
        "table_header": _header(inputs),
        "table_rows": [_cells(row, inputs) for row in table.iter_rows(named=True)],
        "seed_header": ["run", *(f"seed {seed}" for seed in sorted(inputs.metrics["seed"].unique()))],
        "seed_rows": _seed_rows(inputs.metrics, styles),
        "learning_charts": learning_charts(inputs.history, styles),
        "pacing_chart": pacing_chart(inputs.pacing, styles),
        "confusion_charts": confusion_charts(inputs.predictions, styles, inputs.classes),
        "costs": costs(table, inputs.seconds, inputs.baseline),
        "cost_chart": cost_chart(table, styles),
        "parameters": yaml.safe_dump(dict(inputs.parameters), sort_keys=False, allow_unicode=True),
        **_imbalance(inputs, table, styles),
        **_scores_and_draws(inputs, styles),
        **_changes(inputs, styles),
    }


def _imbalance(inputs: ReportInputs, table: pl.DataFrame, styles: list[Look]) -> dict[str, Any]:
    ratios = discrepancy_ratios(inputs.history, inputs.modalities)
    return {
        "balance": balance_verdict(ratios, table, inputs.modalities, inputs.baseline),
        "lead": LEAD,
        "ratio_charts": ratio_charts(ratios, styles, inputs.modalities),
        "gap_charts": gap_charts(accuracy_gaps(inputs.history, inputs.modalities), styles, inputs.modalities),
    }


def _scores_and_draws(inputs: ReportInputs, styles: list[Look]) -> dict[str, Any]:
    scores, manifest, draws = inputs.scores, inputs.manifest, inputs.draws
    by_score = [spread_chart(scores), class_chart(scores, manifest), damage_chart(scores, manifest)]
    return {
        "first_seed": scores["seed"].min(),
        "score_charts": [drawn for drawn in by_score if drawn],
        "draw_chart": draw_chart(draws, scores, styles),
        "draw_histograms": draw_histograms(draws, styles),
        "drawn_pairs": drawn_pairs(draws, scores, manifest, styles),
    }


def _changes(inputs: ReportInputs, styles: list[Look]) -> dict[str, Any]:
    changes = changed_predictions(inputs.predictions, inputs.baseline)
    return {
        "change_counts": change_counts(changes, styles),
        "change_charts": change_charts(changes, styles, inputs.classes),
        "changed_pairs": changed_pairs(changes, styles, inputs.classes),
    }


def _header(inputs: ReportInputs) -> list[str]:
    inside = [f"{modality} inside" for modality in inputs.modalities]
    difference = f"to {inputs.baseline} [interval]"
    return ["run", "accuracy", difference, "macro F1", "mAP", "AUC", *inside, "steps", "samples"]


def _seed_rows(metrics: pl.DataFrame, styles: list[Look]) -> list[tuple[str, list[str]]]:
    fused = metrics.filter(pl.col("output") == FUSED)
    rows = []
    for look in styles:
        accuracy = dict(look.rows(fused).select("seed", "accuracy").iter_rows())
        rows.append((look.label, [percent(accuracy.get(seed)) for seed in sorted(metrics["seed"].unique())]))
    return rows


def _cells(row: Mapping[str, Any], inputs: ReportInputs) -> dict[str, Any]:
    cells = [
        mean_sd(row["accuracy"], row["accuracy_sd"]),
        interval(row["difference"], row["low"], row["high"]),
        *(percent(row[name]) for name in QUALITIES[1:]),
        *(percent(row.get(accuracy_inside(modality))) for modality in inputs.modalities),
        *(f"{row[name]:,}" for name in ("num_steps", "num_samples")),
    ]
    return {"name": row["run"], "alone": row["output"] not in (FUSED, OWN), "cells": cells}
