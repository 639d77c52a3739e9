"""What each output loses and has right on a split, over the samples that have its modality."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import torch
from torch.nn.functional import cross_entropy

from bss.types import FUSED

if TYPE_CHECKING:
    from torch import Tensor

    from bss.measure.evidence import Evidence


def mean_losses(evidence: "Evidence", outputs: Sequence[str]) -> "Tensor":
    """Mean cross-entropy in nats of each output, (outputs,), float64; NaN where no sample has the modality.

    Args:
        evidence: with features.
        outputs: modalities, or "fused".
    """
    return torch.stack([cross_entropy(z.double(), labels) for z, labels in _seen(evidence, outputs)])


def accuracies(evidence: "Evidence", outputs: Sequence[str]) -> "Tensor":
    """Accuracy in [0, 1] of each output, (outputs,), float64; NaN where no sample has the modality.

    Args:
        evidence: with features.
        outputs: modalities, or "fused".
    """
    return torch.stack([(z.argmax(dim=1) == labels).double().mean() for z, labels in _seen(evidence, outputs)])


def _seen(evidence: "Evidence", outputs: Sequence[str]) -> "Iterator[tuple[Tensor, Tensor]]":
    features = evidence.needed_features("a measure of modalities")
    for output in outputs:
        rows = slice(None) if output == FUSED else features[output].any(dim=1)
        yield evidence.logits[output][rows], evidence.labels[rows]
