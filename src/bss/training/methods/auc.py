"""Multiclass AUC as a loss: every pair of classes counts alike, however rare they are."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from bss.training.methods.joint import Joint
from bss.training.methods.method import Record

if TYPE_CHECKING:
    from torch import Tensor


class AUC(Joint):
    """Joint training with the surrogate risk of the multiclass AUC added, of the fusion and of every modality.

    With f = softmax(logits) and n_i samples of class i in the batch, the risk of an output is the mean over the
    ordered pairs of classes i, j that are there of

        R_ij = 1 / (n_i n_j) sum_{a in i} sum_{b in j} l(f_i(a) - f_i(b)),

    l(t) = (margin - t)^2 / 2 (square), exp(-margin t) (exp) or max(0, margin - t) (hinge). A batch of one class has
    no risk. The loss is cross_entropy times that of joint, and weight times the sum of the risks by joint's weights.
    Square and exp take the moments of each class, not the pairs of samples.

    Source: Yang et al., Learning with Multiclass AUC (TPAMI 2021); as a loss of batches beside the cross-entropy it
    is inferred.
    """

    record: ClassVar[Record] = Record(paper="Multiclass AUC, TPAMI 2021", families=("loss",), extra="small products")
    grid: ClassVar[Mapping[str, tuple[object, ...]]] = {
        "surrogate": ("square", "exp", "hinge"),
        "weight": (0.3, 1.0, 3.0),
    }
    surrogate: Literal["square", "exp", "hinge"] = "square"
    margin: Annotated[float, Field(gt=0)] = 1.0
    weight: Annotated[float, Field(ge=0)] = 1.0
    """Weight of the risks; 0 is joint."""
    cross_entropy: Annotated[float, Field(ge=0)] = 1.0
    """Weight of joint's loss; 0 leaves the risks alone, whose gradients are small where softmax saturates."""

    def loss(self, logits: Mapping[str, "Tensor"], labels: "Tensor") -> "Tensor":
        """Joint's loss and the risks of all outputs."""
        import torch

        total = super().loss(logits, labels) * self.cross_entropy
        if not self.weight:
            return total
        weights = self.output_weights(logits)
        risks = [weights[output] * self.risk(values.softmax(dim=1), labels) for output, values in logits.items()]
        return total + self.weight * torch.stack(risks).sum()

    def risk(self, scores: "Tensor", labels: "Tensor") -> "Tensor":
        """The mean of R_ij over the ordered pairs of classes in the batch, a scalar, at least 0.

        Args:
            scores: (B, C), in [0, 1].
            labels: (B,), int64.
        """
        import torch

        members = torch.nn.functional.one_hot(labels, scores.shape[1]).to(scores)
        counts = members.sum(dim=0)
        present = counts > 0
        pairs = present[:, None] & present & ~torch.eye(len(present), dtype=torch.bool, device=scores.device)
        share = members / counts.clamp(min=1)
        risks = {"square": self._square, "exp": self._exp, "hinge": self._hinge}[self.surrogate](scores, share)
        return torch.where(pairs, risks, 0.0).sum() / pairs.sum().clamp(min=1)

    def _square(self, scores: "Tensor", share: "Tensor") -> "Tensor":
        """R (C, C) from the means and mean squares of each class (columns) by each class's score (rows)."""
        mean, square = scores.T @ share, scores.square().T @ share
        own_mean, own_square = mean.diagonal()[:, None], square.diagonal()[:, None]
        gap = self.margin**2 - 2 * self.margin * (own_mean - mean)
        return (gap + own_square + square - 2 * own_mean * mean) / 2

    def _exp(self, scores: "Tensor", share: "Tensor") -> "Tensor":
        own = ((-self.margin * scores).exp() * share).sum(dim=0)
        return own[:, None] * ((self.margin * scores).exp().T @ share)

    def _hinge(self, scores: "Tensor", share: "Tensor") -> "Tensor":
        """Pair by pair of samples, a class at a time."""
        import torch

        rows = []
        for own, weights in zip(scores.T, share.T, strict=True):
            losses = (self.margin - own[:, None] + own).clamp(min=0)
            rows.append((weights @ losses) @ share)
        return torch.stack(rows)
