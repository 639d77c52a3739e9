"""How many training pairs are in play, by epoch."""

from collections.abc import Mapping, Sequence

import polars as pl

from bss.evaluation.grid.inputs import ReportInputs
from bss.evaluation.grid.looks import Look, legend
from bss.evaluation.page.canvas import WIDE, Chart, canvas, finish, label_axes
from bss.evaluation.page.section import Charts, Prose, Section
from bss.evaluation.page.words import listed, percent
from bss.wording import counted

PLACE = 80


def section(inputs: ReportInputs) -> Section:
    """One chart, with a line a scheduler."""
    note = "How many of the training pairs, ranked by balance score, may be drawn in each epoch."
    chart = pacing_chart(inputs.pacing, inputs.looks, inputs.labels)
    return Section("Pacing", [Prose([note]), legend(inputs.looks), Charts([chart], look="wide")])


def pacing_chart(pacing: pl.DataFrame, looks: Sequence[Look], labels: Mapping[str, str]) -> Chart:
    """Share of the training pairs in play by epoch, a line a scheduler; `labels` as for `run_name`."""
    by_scheduler = {look.scheduler: look for look in looks}
    curves = {name: pacing.filter(pl.col("scheduler") == name).sort("epoch") for name in by_scheduler}
    with canvas(WIDE) as (figure, axes):
        for place, (scheduler, curve) in enumerate(curves.items()):
            epochs = range(1, len(curve) + 1)
            width = 1.7 * (len(curves) - place)  # lines that lie on one another stay visible
            colour = by_scheduler[scheduler].colour
            axes.step(epochs, 100 * curve["fraction"], where="mid", color=colour, linewidth=width)
        axes.set_ylim(0, 105)
        label_axes(axes, "epoch", "training pairs in play, %")
        return finish(
            figure,
            "Training pairs in play",
            _paces({labels.get(name, name): curve for name, curve in curves.items()}),
        )


def _paces(curves: dict[str, pl.DataFrame]) -> str:
    whole = [scheduler for scheduler, curve in curves.items() if (curve["fraction"] >= 1).all()]
    growing = [_pace(scheduler, curve) for scheduler, curve in curves.items() if scheduler not in whole]
    return " ".join([*growing, f"All pairs are in play from the start: {listed(whole)}." if whole else ""])


def _pace(scheduler: str, curve: pl.DataFrame) -> str:
    share, num_pairs = percent(curve["fraction"][0]), counted(curve["num_samples"][0], "pair")
    start = f"{scheduler} starts with {share} % ({num_pairs})"
    full = (curve["fraction"] >= 1).arg_true()
    if full.is_empty():
        return f"{start} and ends with {percent(curve['fraction'][-1])} %."
    return f"{start} and has all in play from epoch {full[0] + 1}."
