"""The probability that the fusion gives the true class: how far a pair is learned."""

from typing import TYPE_CHECKING

from bss.measure.criteria.criterion import criterion
from bss.types import FUSED

if TYPE_CHECKING:
    from torch import Tensor

    from bss.measure.evidence import Evidence


@criterion(direction=+1, needs_labels=True)
def confidence(evidence: "Evidence") -> "Tensor":
    """Softmax of the fused logits at the label, shape (N,), in [0, 1].

    Larger is easier. It says nothing of balance by itself: `progressive` draws by it.
    """
    return evidence.logits[FUSED].softmax(dim=1).gather(1, evidence.labels[:, None]).squeeze(1)
