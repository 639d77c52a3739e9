"""Evidential opinions: a Dirichlet distribution over the classes for each view, and for all views together."""

from math import log

import torch
from torch import Tensor
from torch.nn.functional import one_hot

MOST = 1e10
"""Most concentration that counts in the divergence; beyond, its terms are lost in rounding."""


def combined(each: Tensor) -> Tensor:
    """log alpha (B, C) of the opinions of all views together.

    With S = sum alpha, belief b = e / S and uncertainty u = C / S, the reduced rule of Dempster is
    b = (b1 b2 + b1 u2 + b2 u1) / (1 - K), u = u1 u2 / (1 - K) with K the belief in conflict, and alpha = b C / u + 1.
    K cancels: alpha = 1 + C (prod over the views of (1 + e / C) - 1). So no order of the views matters.

    Args:
        each: evidence of the views, (M, B, C), at least 0; 0 of a view that a sample lacks.
    """
    num_classes = each.shape[-1]
    total = (each / num_classes).log1p().sum(dim=0)
    # As logarithms: the product of many sure views is beyond what a number holds.
    return total + log(num_classes) + torch.log1p((1 / num_classes - 1) * (-total).exp())


def risk(alpha: Tensor, labels: Tensor, strength: float) -> Tensor:
    """The evidential loss of each sample, (B,): digamma(S) - digamma(alpha_y) + strength KL(Dir(alpha~) || Dir(1)).

    alpha~ is alpha with 1 at the true class, so that the divergence takes evidence from the others alone.

    Args:
        alpha: concentrations, (B, C), at least 1, float64.
        labels: (B,), int64.
        strength: of the divergence, in [0, 1].
    """
    of_true = alpha.gather(1, labels[:, None]).squeeze(1)
    fit = torch.digamma(alpha.sum(dim=1)) - torch.digamma(of_true)
    if strength == 0:
        return fit
    others = alpha.where(one_hot(labels, alpha.shape[1]) == 0, 1.0).clamp(max=MOST)
    total, num_classes = others.sum(dim=1), torch.tensor(float(alpha.shape[1]), dtype=alpha.dtype)
    divergence = torch.lgamma(total) - torch.lgamma(others).sum(dim=1) - torch.lgamma(num_classes)
    expected = torch.digamma(others) - torch.digamma(total)[:, None]
    return fit + strength * (divergence + ((others - 1) * expected).sum(dim=1))
