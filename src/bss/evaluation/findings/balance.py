"""How balanced the modalities are: who leads inside the joint model, and what each loses there."""

from collections.abc import Iterator, Sequence

import polars as pl

from bss.evaluation.grid.table import accuracy_inside
from bss.evaluation.page.section import Verdict
from bss.evaluation.page.words import listed, percent, points
from bss.measure.discrepancy import discrepancy_ratio
from bss.types import ALONE, FUSED

LEAD = 1.1
"""The discrepancy ratio from which on a modality counts as leading."""
RUN = ("method", "scheduler", "seed")


def discrepancy_ratios(history: pl.DataFrame, modalities: Sequence[str]) -> pl.DataFrame:
    """The `discrepancy_ratio` of the modalities over the validation split, in every run and epoch.

    Args:
        history: method, scheduler, seed, epoch, output, validation_confidence in [0, 1].
        modalities: the outputs that are compared; a run that does not train two of them has no ratio.

    Returns:
        The rows of the modalities inside a joint model, with `ratio` in (0, inf): 1 is balanced, above it leads.
    """
    inside = history.filter(pl.col("output").is_in(list(modalities)), pl.col("method") != ALONE)
    confidence, epoch = pl.col("validation_confidence"), [*RUN, "epoch"]
    ratio = discrepancy_ratio(confidence, confidence.sum().over(epoch), pl.len().over(epoch))
    return inside.filter(pl.len().over(epoch) > 1).with_columns(ratio=ratio)


def accuracy_gaps(history: pl.DataFrame, modalities: Sequence[str]) -> pl.DataFrame:
    """How much accuracy each modality loses inside the joint model: that alone less that inside, by epoch and seed.

    Epochs are paired from the last of the longest run, for a modality alone trains through the epochs that are the
    warm-up of others, and a method may end its training early.

    Returns:
        The rows of the modalities inside a joint model, with `gap` in [-1, 1], above 0 where it does better alone.
    """
    is_alone, epoch = pl.col("method") == ALONE, pl.col("epoch")
    known = history.filter(pl.col("output").is_in(list(modalities)))
    known = known.with_columns(left=epoch.max().over("seed", is_alone) - epoch)
    alone = known.filter(is_alone).select("seed", "output", "left", alone="validation_accuracy")
    pairs = known.filter(~is_alone).join(alone, on=["seed", "output", "left"], how="inner", maintain_order="left")
    return pairs.with_columns(gap=pl.col("alone") - pl.col("validation_accuracy"))


def balance_verdict(
    ratios: pl.DataFrame, table: pl.DataFrame, modalities: Sequence[str], baseline: str
) -> Verdict | None:
    """Whether the modalities are balanced in the baseline's order; None where no run trains two of them.

    Args:
        ratios: as `discrepancy_ratios` gives them.
        table: as `summary_table` gives it.
        modalities: their names.
        baseline: the scheduler that is judged, with the first method that has ratios.
    """
    last = ratios.filter(pl.col("scheduler") == baseline, pl.col("epoch") == pl.col("epoch").max().over(RUN))
    if last.is_empty():
        return None
    last = last.filter(pl.col("method") == last["method"][0])
    final = last.group_by("output", maintain_order=True).agg(pl.col("ratio").log().mean().exp())
    leader, ratio = final.sort("ratio", descending=True, maintain_order=True).row(0)
    method = last["method"][0]
    others = listed([name for name in modalities if name != leader])
    where = f"After the last epoch of {method} in {baseline} order, on validation."
    finding = f"{leader} leads" if ratio >= LEAD else f"The modalities are nearly balanced, {leader} a little ahead"
    finding += f": it gives the true class {ratio:.2f} times the probability that {others} give"
    finding += "s" if len(modalities) == 2 else " on average"
    return Verdict(f"{finding}.", " ".join([where, *_inside_and_alone(table, modalities, method, baseline)]))


def _inside_and_alone(table: pl.DataFrame, modalities: Sequence[str], method: str, baseline: str) -> Iterator[str]:
    rows = table.filter(pl.col("scheduler") == baseline).to_dicts()
    joint = next((row for row in rows if row["method"] == method and row["output"] == FUSED), {})
    alone = {row["output"]: row["accuracy"] for row in rows if row["method"] == ALONE}
    for modality in modalities:
        inside = joint.get(accuracy_inside(modality))
        if inside is not None and modality in alone:
            accuracies = f"{percent(inside)} % inside the joint model, {percent(alone[modality])} % alone"
            yield f"{modality} on test: {accuracies}, {points(inside - alone[modality])} points."
