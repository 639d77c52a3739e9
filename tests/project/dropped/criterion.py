"""How sure the fusion is of the truth."""

from typing import TYPE_CHECKING

from bss.measure.criteria.criterion import criterion

if TYPE_CHECKING:
    from torch import Tensor

    from bss.measure.evidence import Evidence


@criterion(direction=+1)
def dropped(evidence: "Evidence") -> "Tensor":
    """Fused probability of the true class, shape (N,), in (0, 1)."""
    probabilities = evidence.logits["fused"].softmax(dim=1)
    return probabilities[range(len(evidence.labels)), evidence.labels]
