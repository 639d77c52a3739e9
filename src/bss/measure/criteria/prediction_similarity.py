"""Agreement of the modalities' predictions."""

from itertools import combinations
from typing import TYPE_CHECKING

from bss.measure.criteria.criterion import criterion

if TYPE_CHECKING:
    from torch import Tensor

    from bss.measure.evidence import Evidence


@criterion(direction=+1)
def prediction_similarity(evidence: "Evidence") -> "Tensor":
    """Mean cosine of the modalities' softmax outputs over all pairs of modalities, shape (N,), in (0, 1].

    Larger is more balanced: the modalities say the same. Source: BSS (IJCAI 2025), the correlation criterion;
    the mean over pairs for more than two modalities follows the released code.
    """
    import torch

    predictions = [evidence.logits[modality].softmax(dim=1) for modality in evidence.modalities]
    cosines = [torch.cosine_similarity(u, v, dim=1) for u, v in combinations(predictions, 2)]
    return torch.stack(cosines).mean(dim=0)
