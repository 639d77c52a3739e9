"""The first section: what was found, in words and against each other, what to keep in mind, and what was run."""

from collections.abc import Iterator

import polars as pl
from matplotlib.ticker import MaxNLocator

from bss.evaluation.findings.remarks import remarks
from bss.evaluation.findings.verdicts import verdicts
from bss.evaluation.grid.inputs import ReportInputs
from bss.evaluation.page.canvas import INK, MUTED, SERIES, WIDE, WIDTH, Chart, canvas, finish, name_rows, row_height
from bss.evaluation.page.section import Charts, Facts, Prose, Section, Verdicts
from bss.evaluation.page.words import RULES, listed, mean_sd, percent, shortened
from bss.types import ALONE, FUSED, OWN

PLACE = 10
MAX_RUNS = 6
"""Fused runs that are drawn against the modalities; the table of results has all."""
MAX_NAME = 24


def section(inputs: ReportInputs) -> Section:
    """The findings, the remarks, the facts of the grid, and every difference to the baseline."""
    notes = [*remarks(inputs), *inputs.notes]
    return Section(
        "Summary",
        [
            Verdicts(verdicts(inputs), accuracy_chart(inputs)),
            *([Prose(notes, "notes")] if notes else []),
            Facts(_facts(inputs)),
            Charts(list(_difference_charts(inputs)), look="wide"),
        ],
    )


def _facts(inputs: ReportInputs) -> list[tuple[str, str]]:
    runs = inputs.metrics.select("method", "scheduler", "seed").unique()
    fused = inputs.history.filter(pl.col("output") == FUSED)
    epochs = inputs.history if fused.is_empty() else fused
    methods = [inputs.labels.get(name, name) for name in fused["method"].unique(maintain_order=True)]
    return [
        ("data set", inputs.dataset),
        (
            f"pairs: {' / '.join(inputs.num_pairs)}",
            " / ".join(f"{num:,}" for num in inputs.num_pairs.values()),
        ),
        ("modalities", f"{len(inputs.modalities)}"),
        ("classes", f"{len(inputs.classes)}"),
        ("method" if len(methods) == 1 else "methods", listed(methods) if len(methods) < 4 else f"{len(methods)}"),
        ("seeds", f"{runs['seed'].n_unique()}"),
        ("epochs", f"{epochs['epoch'].n_unique()}"),
        ("runs", f"{runs.height}"),
        ("multimodal prediction", RULES[inputs.rule]),
    ]


def accuracy_chart(inputs: ReportInputs) -> Chart:
    """Test accuracy of the majority class, of each modality alone and of fusion, in one scale."""
    table, majority = inputs.table, inputs.majority
    colours = {(look.method, look.scheduler): look.colour for look in inputs.looks}
    alone = table.filter(pl.col("method") == ALONE).sort("accuracy", maintain_order=True)
    fused = table.filter(pl.col("output") == FUSED)
    is_baseline = fused["scheduler"] == inputs.baseline
    drawn = pl.concat([fused.filter(is_baseline), fused.filter(~is_baseline)]).head(MAX_RUNS)
    rows = [(majority.name, majority.accuracy, float("nan"), MUTED)]
    rows += [(row["run"], row["accuracy"], row["accuracy_sd"], SERIES[0]) for row in alone.iter_rows(named=True)]
    rows += [
        (f"fused, {row['run']}", row["accuracy"], row["accuracy_sd"], colours[row["method"], row["scheduler"]])
        for row in drawn.iter_rows(named=True)
    ]
    top = 100 * max(accuracy for _, accuracy, *_ in rows)
    with canvas(WIDTH, 0.5 + 0.29 * len(rows)) as (figure, axes):
        for place, (_, accuracy, deviation, colour) in enumerate(rows):
            axes.barh(place, 100 * accuracy, height=0.62, color=colour, alpha=0.55)
            axes.text(
                100 * accuracy + 0.015 * top, place, mean_sd(accuracy, deviation), va="center", color=INK, size=9
            )
        axes.set_yticks(range(len(rows)), [shortened(name, MAX_NAME) for name, *_ in rows], color=INK)
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_xlim(0, 1.34 * top)
        axes.xaxis.set_major_locator(MaxNLocator(4))
        axes.set_xticks([tick for tick in axes.get_xticks() if tick <= max(top, 1)])
        axes.set_xlabel("test accuracy, %")
        axes.grid(axis="y", visible=False)
        hidden = len(fused) - len(drawn)
        caption = "Mean over seeds ± standard deviation." if len(inputs.seeds) > 1 else "One seed."
        caption += f" Majority class: always naming {majority.class_name}."
        caption += f" {hidden} more fused runs are in Results." if hidden else ""
        spoken = "; ".join(f"{name} {percent(accuracy)} %" for name, accuracy, *_ in rows)
        return finish(figure, "Test accuracy", caption, f"{spoken}. {caption}")


def _difference_charts(inputs: ReportInputs) -> Iterator[Chart]:
    """Paired difference of every run to the baseline with its interval; none without any difference."""
    known = inputs.table.filter(pl.col("output").is_in([FUSED, OWN])).drop_nulls("difference").to_dicts()
    if not known:
        return
    colours = {(look.method, look.scheduler): look.colour for look in inputs.looks}
    names = [row["run"] for row in known]
    with canvas(WIDE, 0.75 + row_height(names) * len(names)) as (figure, axes):
        axes.axvline(0, color=INK, linewidth=0.8)
        for place, row in enumerate(known):
            low, mean, high = (100 * row[name] for name in ("low", "difference", "high"))
            colour = colours.get((row["method"], row["scheduler"]), MUTED)
            axes.plot([low, high], [place, place], color=colour, linewidth=3, alpha=0.55)
            axes.plot(mean, place, "o", color=colour, markersize=7)
        name_rows(axes, names)
        axes.set_xlabel(f"test accuracy against {inputs.baseline}, points")
        yield finish(figure, f"Difference to {inputs.baseline}", " ".join(_difference_caption(inputs)))


def _difference_caption(inputs: ReportInputs) -> Iterator[str]:
    yield "Dot: mean of the paired differences."
    if len(inputs.seeds) > 1:
        yield "Bar: its interval. A bar that crosses the line at 0 does not say which side is better."
    yield inputs.interval_note
