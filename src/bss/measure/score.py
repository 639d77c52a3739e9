"""The balance score: how balanced the modalities are in each training pair."""

from collections.abc import Sequence

import polars as pl
import torch
from torch import Tensor

from bss.measure.criteria.criterion import CRITERIA, Criterion
from bss.measure.evidence import Evidence

PUBLISHED = ("prediction_similarity", "training_loss")


def balance_score(evidence: Evidence, criteria: Sequence[str] = PUBLISHED) -> Tensor:
    """Balance score of each sample, shape (N,), float64; larger is more balanced.

    The sum of the normalised criteria, each with the sign of its direction: for the published pair
    minmax(prediction similarity) - minmax(training loss), in [-1, 1]. Source: BSS (IJCAI 2025).

    Raises:
        ValueError: no criterion, or an unknown one.
    """
    if not criteria:
        raise ValueError(f"a balance score needs at least one criterion (known: {', '.join(CRITERIA)})")
    return torch.stack([normalised(evidence, name) for name in criteria]).sum(dim=0)


def score_table(evidence: Evidence, criteria: Sequence[str] = PUBLISHED) -> pl.DataFrame:
    """One row a sample: label, each criterion raw (`NAME`) and with sign (`NAME_normalised`), balance_score."""
    columns = {"label": evidence.labels.numpy()}
    for name in criteria:
        columns[name] = CRITERIA[name](evidence).double().numpy()
        columns[f"{name}_normalised"] = normalised(evidence, name).numpy()
    return pl.DataFrame({**columns, "balance_score": balance_score(evidence, criteria).numpy()})


def normalised(evidence: Evidence, name: str) -> Tensor:
    """One criterion min-max normalised over all samples, in [0, 1] or, where larger is less balanced, [-1, 0]."""
    criterion: Criterion = CRITERIA[name]
    return criterion.direction * minmax(criterion(evidence))


def minmax(values: Tensor) -> Tensor:
    """Values moved and scaled onto [0, 1], float64; all 0 where they are all the same."""
    values = values.double()
    span = values.max() - values.min()
    return torch.zeros_like(values) if span == 0 else (values - values.min()) / span
