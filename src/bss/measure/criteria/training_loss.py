"""The losses that a pair still has."""

from typing import TYPE_CHECKING

from bss.measure.criteria.criterion import criterion

if TYPE_CHECKING:
    from torch import Tensor

    from bss.measure.evidence import Evidence


@criterion(direction=-1, needs_labels=True)
def training_loss(evidence: "Evidence") -> "Tensor":
    """Sum of the cross-entropies of the fusion and of every modality, shape (N,), in nats, at least 0.

    Larger is less balanced. Source: BSS (IJCAI 2025), the information criterion.
    """
    import torch
    from torch.nn.functional import cross_entropy

    losses = [cross_entropy(logits, evidence.labels, reduction="none") for logits in evidence.logits.values()]
    return torch.stack(losses).sum(dim=0)
