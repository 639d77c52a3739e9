"""The length of a pair's step for the classifiers."""

from typing import TYPE_CHECKING

from bss.measure.criteria.criterion import criterion

if TYPE_CHECKING:
    from torch import Tensor

    from bss.measure.evidence import Evidence


@criterion(direction=-1, needs_labels=True)
def gradient_magnitude(evidence: "Evidence") -> "Tensor":
    """Norm of the gradient of the summed cross-entropies by all classifiers' weights and biases, (N,), at least 0.

    In closed form: for one linear classifier it is |softmax - onehot| sqrt(|features|^2 + 1), and the fusion's
    features are those of all modalities. `evidence.gradients`, where given, is taken instead. Larger is less
    balanced.
    Source: the criteria table of BSS (arXiv 2501.01470).

    Raises:
        ValueError: the evidence has neither features nor gradients.
    """
    import torch
    from torch.nn.functional import one_hot

    if evidence.gradients is not None:
        return evidence.gradients
    features = evidence.needed_features("gradient_magnitude")
    squares = {modality: features[modality].square().sum(dim=1) for modality in evidence.modalities}
    fused = torch.stack(list(squares.values())).sum(dim=0)
    total = torch.zeros_like(fused)
    for output, logits in evidence.logits.items():
        error = logits.softmax(dim=1) - one_hot(evidence.labels, logits.shape[1])
        total += error.square().sum(dim=1) * (squares.get(output, fused) + 1)
    return total.sqrt()
