"""The gap between the modalities in their confidence in the true class."""

from typing import TYPE_CHECKING

from bss.measure.criteria.criterion import criterion

if TYPE_CHECKING:
    from torch import Tensor

    from bss.measure.evidence import Evidence


@criterion(direction=-1, needs_labels=True)
def confidence_gap(evidence: "Evidence") -> "Tensor":
    """Largest minus smallest probability that a modality gives the true class, shape (N,), in [0, 1].

    Larger is less balanced. Source: the discrepancy that OGM (CVPR 2022) measures over a batch, of each sample.
    """
    import torch

    truths = [
        evidence.logits[modality].softmax(dim=1).gather(1, evidence.labels[:, None]).squeeze(1)
        for modality in evidence.modalities
    ]
    confidences = torch.stack(truths)
    return confidences.amax(dim=0) - confidences.amin(dim=0)
