"""The confidence that the fusion owes to each modality, by which OGM and OPM modulate."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

    from bss.training.trainer import Trainer


def contributions(trainer: "Trainer", features: Mapping[str, "Tensor"]) -> dict[str, "Tensor"]:
    """Modality -> the logits (B, C) of the whole batch that the fusion owes to it, without gradients.

    z_m = g(f_m alone) - (1 - 1/M) g(nothing), where g is the fusion and nothing is zeros. For a concatenation with
    the weights W and the bias b that is W_m f_m + b / M, which OGM and OPM split off by hand.

    Args:
        trainer: whose model fuses.
        features: modality -> (rows of this rank, width).
    """
    with torch.no_grad():
        nothing = {name: torch.zeros_like(values) for name, values in features.items()}
        none = trainer.fuse(nothing)
        share = 1 - 1 / len(features)
        return {name: trainer.fuse({**nothing, name: values}) - share * none for name, values in features.items()}


def leads(logits: Mapping[str, "Tensor"], labels: "Tensor") -> dict[str, float]:
    """Modality -> its discrepancy ratio: the sum of its softmax at the labels by the mean sum of the others.

    For two modalities that is OGM's rho_a = s_a / s_v and its reciprocal. Infinite where no number is as large.

    Args:
        logits: modality -> (B, C).
        labels: (B,), int64.
    """
    rows = torch.arange(len(labels), device=labels.device)
    # As logarithms: a sum that is too small for a number still has a ratio.
    sums = {name: z.double().log_softmax(dim=1)[rows, labels].logsumexp(dim=0) for name, z in logits.items()}
    ratios = {}
    for name, own in sums.items():
        others = torch.stack([total for other, total in sums.items() if other != name])
        ratios[name] = float((own - others.logsumexp(dim=0)).exp() * len(others))
    return ratios
