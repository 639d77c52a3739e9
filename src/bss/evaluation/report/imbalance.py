"""Which modality leads inside the joint model, and what each loses there, by epoch."""

from collections.abc import Sequence
from math import exp

import numpy as np
import polars as pl

from bss.evaluation.findings.balance import LEAD, accuracy_gaps, balance_verdict, discrepancy_ratios
from bss.evaluation.grid.inputs import ReportInputs
from bss.evaluation.grid.looks import Look, legend
from bss.evaluation.page.canvas import INK, Chart, canvas, finish, label_axes
from bss.evaluation.page.section import Block, Charts, Prose, Section, Table, Verdicts
from bss.evaluation.page.words import listed
from bss.evaluation.report._bands import bands, draw_bands
from bss.types import FUSED

PLACE = 40
TICKS = (1.05, 1.1, 1.25, 1.5, 2, 3, 5, 10, 30, 100)


def section(inputs: ReportInputs) -> Section:
    """The discrepancy ratio of each modality, and its accuracy alone less that inside."""
    found = discrepancy_ratios(inputs.history, inputs.modalities)
    ratios = ratio_charts(found, inputs.looks, inputs.modalities)
    gaps = gap_charts(accuracy_gaps(inputs.history, inputs.modalities), inputs.looks, inputs.modalities)
    blocks: list[Block] = [Prose(["No run trains an output for two modalities, so there is no discrepancy ratio."])]
    if ratios:
        verdict = balance_verdict(found, inputs.table, inputs.modalities, inputs.baseline)
        blocks = [Verdicts([verdict])] if verdict else []
        blocks += [legend(inputs.looks), Charts(ratios, "Who leads", _ratio_note(len(inputs.modalities)))]
    if gaps:
        blocks.append(Charts(gaps, "What a modality loses beside the others", GAP_NOTE))
    if rows := deviations(inputs.metrics, inputs.table):
        header, note = ("run", "equilibrium deviation"), _equilibrium_note(len(inputs.modalities))
        blocks.append(Table("How evenly the modalities contribute", header, rows, note, headed=True))
    if probed := probe_accuracies(inputs.metrics, inputs.table, inputs.modalities):
        columns = ("run", *inputs.modalities, "all of them")
        blocks.append(Table("What the frozen encoders know", columns, probed, PROBE_NOTE, headed=True))
    return Section("Imbalance", blocks, heading="Imbalance by epoch")


GAP_NOTE = (
    "Validation accuracy of the modality trained alone, less that of its own output inside the joint model, of the "
    "same seed and with as many epochs left to train. Above 0 the modality does better alone."
)

PROBE_NOTE = (
    "Test accuracy in percent, mean over the seeds, of a logistic regression on the features of each encoder, fitted "
    "on the training pairs: what was learned, whatever heads and fusion make of it."
)


def deviations(metrics: pl.DataFrame, table: pl.DataFrame) -> list[tuple[str, str]]:
    """Every fused run with its equilibrium deviation, the mean over the seeds that have one; others are left out.

    Args:
        metrics: method, scheduler, seed, output, and maybe equilibrium_deviation.
        table: as `summary_table` gives it.
    """
    if "equilibrium_deviation" not in metrics.columns:
        return []
    known = metrics.filter(pl.col("output") == FUSED, pl.col("equilibrium_deviation").is_not_null())
    means = known.group_by("method", "scheduler").agg(pl.col("equilibrium_deviation").mean())
    fused = table.filter(pl.col("output") == FUSED)
    rows = fused.join(means, on=["method", "scheduler"], how="inner", maintain_order="left")
    return [(row["run"], f"{row['equilibrium_deviation']:.3f}") for row in rows.to_dicts()]


def probe_accuracies(metrics: pl.DataFrame, table: pl.DataFrame, modalities: Sequence[str]) -> list[tuple[str, ...]]:
    """Every run with the accuracy of its linear probes: of each modality, then of all; runs without are left out.

    Args:
        metrics: method, scheduler, seed, output, and maybe linear_probe.
        table: as `summary_table` gives it.
        modalities: their names.
    """
    if "linear_probe" not in metrics.columns:
        return []
    names = {(row["method"], row["scheduler"]): row["run"] for row in table.to_dicts() if row["output"] == FUSED}
    rows = []
    probed = metrics.filter(pl.col("linear_probe").is_not_null())
    for run, outputs in probed.group_by("method", "scheduler", maintain_order=True):
        means = dict(outputs.group_by("output").agg(pl.col("linear_probe").mean()).rows())
        accuracies = [f"{100 * means[name]:.1f}" if name in means else "-" for name in (*modalities, FUSED)]
        rows.append((names.get(run, "each modality alone"), *accuracies))
    return rows


def _equilibrium_note(number: int) -> str:
    return (
        "How unevenly the modalities contribute to the fused prediction on test: the mean distance of their shares "
        f"from 1/{number}. 0: all alike; {2 * (number - 1) / number**2:.2g}: one alone. A share is that of the "
        "Shapley value: what a modality adds to the mean probability of the true class, over all sets of the others. "
        "The shares stand in reports/metrics. Modality Equilibrium Matters (2025) names the metric; its formula here "
        "is inferred."
    )


def _ratio_note(num_modalities: int) -> str:
    others = "other modality" if num_modalities == 2 else "other modalities, on average"
    source = (
        "OGM-GE (CVPR 2022) defines it so, there over a batch of training; here it is taken"
        if num_modalities == 2
        else "It extends the ratio that OGM-GE (CVPR 2022) defines for two modalities over a batch of training, and "
        "is taken here"
    )
    return (
        "The discrepancy ratio of a modality: the mean probability that its own output gives to the true class, over "
        f"that of the {others}. At 1 they are balanced; from {LEAD} on one is said to lead. {source} over the "
        "validation split after each epoch."
    )


def ratio_charts(ratios: pl.DataFrame, looks: Sequence[Look], modalities: Sequence[str]) -> list[Chart]:
    """The ratio by epoch, a chart a modality; of two modalities the first alone, for the other is its inverse."""
    curves = bands(ratios, pl.col("ratio").log(), looks).with_columns(pl.col("mean", "low", "high").exp())
    drawn = modalities[:1] if len(modalities) == 2 else modalities
    return [_ratio_chart(curves, modality, looks, modalities) for modality in drawn if not curves.is_empty()]


def _ratio_chart(curves: pl.DataFrame, modality: str, looks: Sequence[Look], modalities: Sequence[str]) -> Chart:
    rest = [name for name in modalities if name != modality]
    others = rest[0] if len(rest) == 1 else "the others"
    extremes = np.abs(np.log(curves.select("low", "high").to_numpy()))
    limit = max(1.06, exp(1.05 * extremes[np.isfinite(extremes)].max(initial=0)))
    marks = [tick for tick in TICKS if tick <= limit][-2:]
    with canvas() as (figure, axes):
        axes.axhline(1, color=INK, linewidth=0.8)
        ends = draw_bands(axes, curves, modality, looks, lambda ratio: f"{ratio:.2f}")
        axes.set_yscale("log")
        axes.set_ylim(1 / limit, limit)
        places = sorted({1.0, *marks, *(1 / mark for mark in marks)})
        axes.set_yticks(places, [f"{place:.2g}" if place < 1 else f"{place:g}" for place in places])
        axes.minorticks_off()
        label_axes(axes, "epoch", "discrepancy ratio")
        caption = f"Above 1 {modality} leads, below 1 {others}."
        return finish(figure, f"{modality} against {others}", caption, f"{caption} Last epoch: {listed(ends)}.")


def gap_charts(gaps: pl.DataFrame, looks: Sequence[Look], modalities: Sequence[str]) -> list[Chart]:
    """Accuracy alone less accuracy inside by epoch, a chart a modality."""
    curves = bands(gaps, 100 * pl.col("gap"), looks)
    known = [modality for modality in modalities if modality in curves["output"]]
    return [_gap_chart(curves, modality, looks) for modality in known]


def _gap_chart(curves: pl.DataFrame, modality: str, looks: Sequence[Look]) -> Chart:
    with canvas() as (figure, axes):
        axes.axhline(0, color=INK, linewidth=0.8)
        ends = draw_bands(axes, curves, modality, looks, lambda gap: f"{gap:+.1f}")
        low, high = min(0, curves["low"].to_numpy().min()), max(0, curves["high"].to_numpy().max())
        axes.set_ylim(low - 0.06 * (high - low) - 0.1, high + 0.06 * (high - low) + 0.1)  # the same in all
        label_axes(axes, "epoch", "alone less inside, points")
        return finish(figure, f"{modality}: alone less inside", description=f"Last epoch: {listed(ends)} points.")
