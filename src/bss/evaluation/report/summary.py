"""The first section: which scheduler won, whether the modalities are balanced, and what was run."""

from collections.abc import Iterator

import polars as pl

from bss.evaluation.grid.balance import balance_verdict, discrepancy_ratios
from bss.evaluation.grid.inputs import ReportInputs
from bss.evaluation.grid.verdicts import cautions, verdicts
from bss.evaluation.page.canvas import INK, WIDE, Chart, canvas, finish
from bss.evaluation.page.section import Charts, Facts, Prose, Section
from bss.evaluation.page.words import RULES, level
from bss.types import FUSED

PLACE = 10


def section(inputs: ReportInputs) -> Section:
    """The findings in words, the facts of the grid, and every difference to the baseline."""
    table, baseline = inputs.table, inputs.baseline
    ratios = discrepancy_ratios(inputs.history, inputs.modalities)
    balance = balance_verdict(ratios, table, inputs.modalities, baseline)
    findings = [*verdicts(table, baseline, inputs.confidence), *([balance] if balance else [])]
    return Section(
        "Summary",
        [
            *(Prose([verdict.finding, *verdict.remarks], "finding") for verdict in findings),
            Prose(list(cautions(table)), "muted"),
            Facts(_facts(inputs)),
            *([Prose(inputs.notes, "notes")] if inputs.notes else []),
            Charts(list(_difference_charts(inputs)), look="wide"),
        ],
    )


def _facts(inputs: ReportInputs) -> list[tuple[str, str]]:
    runs = inputs.metrics.select("method", "scheduler", "seed").unique()
    fused = inputs.history.filter(pl.col("output") == FUSED)
    epochs = inputs.history if fused.is_empty() else fused
    return [
        ("data set", inputs.dataset),
        (
            f"pairs: {' / '.join(inputs.num_pairs)}",
            " / ".join(f"{num:,}" for num in inputs.num_pairs.values()),
        ),
        ("modalities", ", ".join(inputs.modalities)),
        ("classes", f"{len(inputs.classes)}"),
        ("seeds", f"{runs['seed'].n_unique()}"),
        ("epochs", f"{epochs['epoch'].n_unique()}"),
        ("runs", f"{runs.height}"),
        ("multimodal prediction", RULES[inputs.rule]),
    ]


def _difference_charts(inputs: ReportInputs) -> Iterator[Chart]:
    """Paired difference of every run to the baseline with its interval; none without any difference."""
    known = [
        (look, row) for look in inputs.looks for row in look.rows(inputs.table).drop_nulls("difference").to_dicts()
    ]
    if not known:
        return
    with canvas(WIDE, 0.75 + 0.3 * len(known)) as (figure, axes):
        axes.axvline(0, color=INK, linewidth=0.8)
        for place, (look, row) in enumerate(known):
            low, mean, high = (100 * row[name] for name in ("low", "difference", "high"))
            axes.plot([low, high], [place, place], color=look.colour, linewidth=3, alpha=0.55)
            axes.plot(mean, place, "o", color=look.colour, markersize=7)
        axes.set_yticks(range(len(known)), [look.label for look, _ in known], color=INK)
        axes.set_ylim(len(known) - 0.5, -0.5)
        axes.set_xlabel(f"test accuracy against {inputs.baseline}, points")
        axes.grid(axis="y", visible=False)
        caption = (
            f"Dot: mean of the paired differences. Bar: its {level(inputs.confidence)} interval. "
            "A bar that crosses the line at 0 does not say which side is better."
        )
        yield finish(figure, f"Difference to {inputs.baseline}", caption)
