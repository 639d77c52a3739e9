"""Batches of pairs that lack modalities."""

import torch

from bss.training.loader import Batch
from bss.types import PRESENT


def with_gaps(batch: Batch, **absent: list[int]) -> Batch:
    """A batch in which some rows of some modalities are not there, and hold zeros.

    Args:
        batch: in which all are there.
        absent: modality -> rows.
    """
    inputs = dict(batch.inputs)
    for name in batch.inputs:
        present = torch.ones(len(batch.labels), dtype=torch.bool)
        present[absent.get(name, [])] = False
        inputs[name] = torch.where(present.view(-1, *[1] * (inputs[name].ndim - 1)), inputs[name], 0)
        inputs[f"{name}{PRESENT}"] = present
    return batch._replace(inputs=inputs)
