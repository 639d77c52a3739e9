"""Whether the decision prefers a modality: its share of weights and logits, and what each recognises of a class."""

from collections.abc import Sequence
from statistics import mean, stdev

import numpy as np
import polars as pl

from bss.evaluation.grid.inputs import ReportInputs
from bss.evaluation.grid.looks import Look
from bss.evaluation.page.canvas import MAX_CLASSES
from bss.evaluation.page.section import Block, Prose, Section, Table
from bss.evaluation.page.words import ABSENT, mean_sd, percent, shortened
from bss.types import ALONE, FUSED
from bss.wording import counted

PLACE = 45
HEADING = "Who is heard at the decision"
MAX_OPEN = 12
"""Up to so many classes are in sight; more are folded away."""
PROBABILITIES = "probabilities"
"""Column of the predictions, where they have it: a probability for each class."""


def section(inputs: ReportInputs) -> Section | None:
    """Tables of weight shares, logit shares and recalls by class; None where no run has two outputs."""
    looks, names = inputs.looks, inputs.modalities
    shown = [
        _shares("Weights", weight_shares(inputs.fusion_norms), looks, names, WEIGHT_NOTE),
        _shares("Logits", logit_shares(inputs.predictions, names), looks, names, _logit_note(len(names))),
        *(_recalls(inputs, look) for look in looks if look.scheduler == inputs.baseline),
    ]
    tables: list[Block] = [table for table in shown if table]
    return Section("Decision", [Prose([NOTE]), *tables], heading=HEADING) if tables else None


NOTE = (
    "Even where every encoder is good, a decision may follow one modality (Ma and Chen, arXiv 2510.14411). This is "
    "what weights and test predictions show of it. What the logits of the fusion owe to each modality is not here: "
    "that takes the features of the test pairs, which no stage keeps."
)
WEIGHT_NOTE = (
    "Share of each modality in the weights of the fusion, %: the Frobenius norm of its columns, by the sum of all. "
    "Only a fusion that is one matrix over the features side by side (concat) has it. Small weights on large "
    "features count as much as large weights on small ones, so read it beside the next table."
)


def _logit_note(num_modalities: int) -> str:
    return (
        "Share of each modality in the logits, %: the mean size of the logits of its own output over test pairs and "
        "classes, less their mean over the classes, by the sum over all modalities. It is how loudly each speaks "
        f"where logits are added. Evenly heard, each would have {percent(1 / num_modalities)}."
    )


def weight_shares(norms: pl.DataFrame) -> pl.DataFrame:
    """The share of each modality in the weights of the fusion, a row a run and modality.

    Args:
        norms: method, scheduler, seed, output, norm, at least 0; a row a modality.

    Returns:
        The same with `share` in [0, 1].
    """
    return _shared(norms, "norm")


def logit_shares(predictions: pl.DataFrame, modalities: Sequence[str]) -> pl.DataFrame:
    """The share of each modality in the size of the logits, a row a run and modality.

    A prediction gives logits up to a number that is the same for all classes: log p less its mean over the classes.

    Args:
        predictions: method, scheduler, seed, output and `probabilities`; empty comes back without the last.
        modalities: the outputs that are compared; a run without two of them beside each other has no share.

    Returns:
        method, scheduler, seed, output, `size` at least 0 and `share` in [0, 1].
    """
    keys = ["method", "scheduler", "seed", "output"]
    if PROBABILITIES not in predictions.columns:
        return pl.DataFrame(schema=[*keys, "size", "share"])
    rows = predictions.filter(pl.col("output").is_in(list(modalities)), pl.col("method") != ALONE)
    sizes = [
        (*key, _size(np.array(group[PROBABILITIES].to_list())))
        for key, group in rows.group_by(keys, maintain_order=True)
    ]
    found = _shared(pl.DataFrame(sizes, schema=[*keys, "size"], orient="row"), "size")
    return found.filter(pl.len().over("method", "scheduler", "seed") > 1)


def _size(probabilities: np.ndarray) -> float:
    """Mean size of the centred logits, of probabilities (N, C)."""
    logits = np.log(probabilities.clip(np.finfo(np.float64).tiny))
    return float(np.abs(logits - logits.mean(axis=1, keepdims=True)).mean())


def _shared(rows: pl.DataFrame, column: str) -> pl.DataFrame:
    total = pl.col(column).sum().over("method", "scheduler", "seed")
    return rows.with_columns(share=pl.when(total > 0).then(pl.col(column) / total))


def _shares(
    title: str, shares: pl.DataFrame, looks: Sequence[Look], modalities: Sequence[str], note: str
) -> Table | None:
    rows = [(look.label, *_of_run(look.rows(shares), modalities)) for look in looks]
    rows = [row for row in rows if set(row[1:]) != {ABSENT}]
    return Table(f"{title} by modality", ("run", *modalities), rows, note, headed=True) if rows else None


def _of_run(shares: pl.DataFrame, modalities: Sequence[str]) -> list[str]:
    """Mean and deviation over the seeds, a cell a modality."""
    of_modality = (shares.filter(pl.col("output") == name)["share"].drop_nulls().to_list() for name in modalities)
    return [_over_seeds(values) if values else ABSENT for values in of_modality]


def _over_seeds(values: list[float]) -> str:
    return mean_sd(mean(values), stdev(values) if len(values) > 1 else np.nan)


def class_recalls(predictions: pl.DataFrame) -> pl.DataFrame:
    """The share of each class's pairs that an output recognises, in means over the seeds.

    Args:
        predictions: of one method and scheduler: seed, output, label, prediction.

    Returns:
        output, label, recall in [0, 1].
    """
    right = (pl.col("label") == pl.col("prediction")).mean()
    by_seed = predictions.group_by("seed", "output", "label").agg(recall=right)
    return by_seed.group_by("output", "label").agg(pl.col("recall").mean()).sort("output", "label")


def _recalls(inputs: ReportInputs, look: Look) -> Table | None:
    """Recall by class and modality, the classes on which the modalities differ most first."""
    found = class_recalls(look.rows(inputs.predictions))
    names = [name for name in inputs.modalities if name in found["output"]]
    if len(names) < 2:
        return None
    recall = {(output, label): value for output, label, value in found.iter_rows()}
    spreads = {
        label: max(recall[name, label] for name in names) - min(recall[name, label] for name in names)
        for label in found["label"].unique().sort()
    }
    labels = sorted(spreads, key=lambda label: -spreads[label])[:MAX_CLASSES]
    columns = [*names, *([FUSED] if FUSED in found["output"] else [])]
    rows = [
        (shortened(inputs.classes[label]), *(percent(recall[name, label]) for name in columns)) for label in labels
    ]
    note = (
        "Share of the test pairs of a class that each output recognises, %, mean over seeds; the classes on which "
        "the modalities differ most come first."
    )
    note += f" Left out: {counted(num_hidden, 'class')}." if (num_hidden := len(spreads) - len(labels)) else ""
    return Table(
        f"{look.label}: recall by class", ("class", *columns), rows, note, headed=True, folded=len(rows) > MAX_OPEN
    )
