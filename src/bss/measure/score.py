"""The balance score: how balanced the modalities are in each training pair."""

from collections.abc import Mapping, Sequence

import polars as pl
import torch
from torch import Tensor

from bss.measure.criteria.criterion import CRITERIA, PUBLISHED, distinct
from bss.measure.evidence import Evidence


def balance_score(evidence: Evidence, criteria: Sequence[str] = PUBLISHED) -> Tensor:
    """Balance score of each sample, shape (N,), float64, in [-1, 1]; larger is more balanced.

    The mean of the normalised criteria of direction +1, which speak for balance, less the mean of those of direction
    -1; criteria of one direction alone lie in [0, 1] or in [-1, 0]. For the published pair it is
    minmax(prediction similarity) - minmax(training loss). Source: BSS (IJCAI 2025).

    Raises:
        InputError: no criterion, an unknown one, or one twice.
    """
    return combined({name: CRITERIA[name](evidence) for name in distinct(tuple(criteria))})


def combined(values: Mapping[str, Tensor]) -> Tensor:
    """The balance score (N,), float64, from the values of its criteria, criterion -> (N,)."""
    total = torch.zeros_like(next(iter(values.values())), dtype=torch.float64)
    for direction in (+1, -1):
        parts = [minmax(of_all) for name, of_all in values.items() if CRITERIA[name].direction == direction]
        total += direction * torch.stack(parts).mean(dim=0) if parts else 0
    return total


def score_table(evidence: Evidence, criteria: Sequence[str] = PUBLISHED, others: Sequence[str] = ()) -> pl.DataFrame:
    """One row a sample: label, each criterion raw (`NAME`) and with its sign (`NAME_normalised`), balance_score.

    The `others` are measured, but not part of the balance score.
    """
    columns = {"label": evidence.labels.numpy()}
    values = {name: CRITERIA[name](evidence) for name in dict.fromkeys([*criteria, *others])}
    for name, of_all in values.items():
        columns[name] = of_all.double().numpy()
        columns[f"{name}_normalised"] = combined({name: of_all}).numpy()
    return pl.DataFrame({**columns, "balance_score": combined({name: values[name] for name in criteria}).numpy()})


def minmax(values: Tensor) -> Tensor:
    """Values moved and scaled onto [0, 1], float64; all 0 where they are all the same."""
    values = values.double()
    span = values.max() - values.min()
    return torch.zeros_like(values) if span == 0 else (values - values.min()) / span
