"""The losses that a pair would have if the fusion were right."""

from typing import TYPE_CHECKING

from bss.measure.criteria.criterion import criterion
from bss.types import FUSED

if TYPE_CHECKING:
    from torch import Tensor

    from bss.measure.evidence import Evidence


@criterion(direction=-1)
def expected_loss(evidence: "Evidence") -> "Tensor":
    """Sum over all outputs of their cross-entropy to the fused prediction, shape (N,), in nats, at least 0.

    Larger is less balanced: `training_loss` with the classes as probable as the fusion says, so it needs no label.
    """
    import torch

    expected = evidence.logits[FUSED].softmax(dim=1)
    losses = [-(expected * logits.log_softmax(dim=1)).sum(dim=1) for logits in evidence.logits.values()]
    return torch.stack(losses).sum(dim=0)
