"""The uncertainty of the modalities."""

from typing import TYPE_CHECKING

from bss.measure.criteria.criterion import criterion

if TYPE_CHECKING:
    from torch import Tensor

    from bss.measure.evidence import Evidence


@criterion(direction=-1)
def entropy(evidence: "Evidence") -> "Tensor":
    """Mean over the modalities of the entropy of their softmax outputs, shape (N,), in nats, in [0, log C].

    Larger is less balanced: it needs no label.
    """
    import torch

    logs = [evidence.logits[modality].log_softmax(dim=1) for modality in evidence.modalities]
    return torch.stack([-(log.exp() * log).sum(dim=1) for log in logs]).mean(dim=0)
