"""Agreement of the modalities' features."""

from itertools import combinations
from typing import TYPE_CHECKING

from bss.errors import InputError
from bss.measure.criteria.criterion import criterion

if TYPE_CHECKING:
    from torch import Tensor

    from bss.measure.evidence import Evidence


@criterion(direction=+1)
def feature_similarity(evidence: "Evidence") -> "Tensor":
    """Mean cosine of the modalities' features over all pairs of modalities, shape (N,), in [-1, 1].

    Larger is more balanced. Source: the criteria table of BSS (arXiv 2501.01470).

    Raises:
        InputError: the evidence has no features, or the modalities' widths differ.
    """
    import torch

    features = evidence.needed_features("feature_similarity")
    widths = {modality: features[modality].shape[1] for modality in evidence.modalities}
    if len(set(widths.values())) > 1:
        raise InputError(f"feature_similarity needs features of one width, and the encoders give {widths}")
    pairs = combinations([features[modality] for modality in evidence.modalities], 2)
    return torch.stack([torch.cosine_similarity(u, v, dim=1) for u, v in pairs]).mean(dim=0)
