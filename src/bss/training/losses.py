"""The cross-entropy that methods minimise, weighted by class where `train.class_weights` asks for it."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

_WEIGHTS: ContextVar[Tensor | None] = ContextVar("class weights of the step", default=None)


def cross_entropy(
    logits: Tensor, labels: Tensor, reduction: Literal["mean", "none"] = "mean", label_smoothing: float = 0.0
) -> Tensor:
    """Cross-entropy in nats: the mean over the batch, or of each sample, (B,); times the weight of its class.

    The weighted mean is divided by the number of samples, not by the sum of their weights as torch does: so a batch
    of one class alone does not lose its weight, and the mean over many batches is that of the weighted data set.

    Args:
        logits: (B, C).
        labels: (B,), int64.
        reduction: `mean` or `none`.
        label_smoothing: share of the target that is spread evenly over all classes, in [0, 1].
    """
    weights = _WEIGHTS.get()
    if weights is None:
        return functional.cross_entropy(logits, labels, reduction=reduction, label_smoothing=label_smoothing)
    each = functional.cross_entropy(logits, labels, reduction="none", label_smoothing=label_smoothing)
    each = each * weights[labels]
    return each.mean() if reduction == "mean" else each


def sample_weights(labels: Tensor) -> Tensor:
    """The weight of each sample's class, (B,), for losses that are no cross-entropy; ones where classes weigh alike.

    Args:
        labels: (B,), int64.
    """
    weights = _WEIGHTS.get()
    return torch.ones(len(labels), device=labels.device) if weights is None else weights[labels]


@contextmanager
def class_weighted(weights: Tensor) -> Iterator[None]:
    """Weigh every `cross_entropy` inside by the class of the sample.

    Args:
        weights: (C,), at least 0.
    """
    token = _WEIGHTS.set(weights)
    try:
        yield
    finally:
        _WEIGHTS.reset(token)


def balanced_weights(labels: np.ndarray, num_classes: int) -> Tensor:
    """Weights (C,), float32, that give every class the same sum over the data set, and the samples a mean of 1.

    N / (number of classes there are * number of samples of the class), as scikit-learn's `balanced`; 0 for a class
    without a sample.

    Args:
        labels: (N,) of the training split, in [0, C).
        num_classes: C.
    """
    counts = np.bincount(labels, minlength=num_classes)
    weights = len(labels) / (np.count_nonzero(counts) * counts.clip(min=1)) * (counts > 0)
    return torch.from_numpy(weights.astype(np.float32))
