"""The gradient that a pair would have if the model's own prediction were its label."""

from typing import TYPE_CHECKING

from bss.curriculum.acquisitions.acquisition import Pool

if TYPE_CHECKING:
    from torch import Tensor


def errors_at_the_prediction(pool: Pool) -> "Tensor":
    """p - onehot(argmax p) of the fusion, (U, C), float32: the gradient of its cross-entropy by the logits."""
    probabilities = pool.logits().softmax(dim=1)
    predicted = probabilities.argmax(dim=1, keepdim=True)
    return probabilities.scatter_add(1, predicted, -probabilities.new_ones(predicted.shape)).float()
