"""The losses that a pair still has, weighted as in the released run on CREMA-D."""

from typing import TYPE_CHECKING

from bss.measure.criteria.criterion import criterion
from bss.types import FUSED

if TYPE_CHECKING:
    from torch import Tensor

    from bss.measure.evidence import Evidence

FUSED_WEIGHT, UNIMODAL_WEIGHT = 0.1, 0.9


@criterion(direction=-1, needs_labels=True)
def training_loss_weighted(evidence: "Evidence") -> "Tensor":
    """0.1 of the fusion's cross-entropy and 0.9 of every modality's, summed, shape (N,), in nats, at least 0.

    Larger is less balanced. Source: the released code of BSS for CREMA-D, which weighs the losses so inside of the
    score too; the paper has `training_loss`.
    """
    import torch
    from torch.nn.functional import cross_entropy

    losses = [
        (FUSED_WEIGHT if output == FUSED else UNIMODAL_WEIGHT)
        * cross_entropy(logits, evidence.labels, reduction="none")
        for output, logits in evidence.logits.items()
    ]
    return torch.stack(losses).sum(dim=0)
