"""Modality-balanced self-distillation: of each pair of modalities the surer one teaches the other."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from bss.training.methods.joint import Joint
from bss.training.methods.method import Record
from bss.types import FUSED

if TYPE_CHECKING:
    from torch import Tensor

    from bss.model import MultimodalModel


class MBSD(Joint):
    """The joint loss and distillation_weight times what each pair of modalities learns from each other.

    Let p = softmax(z), t the modality of a pair with the larger probability of the true class y, s the other one, and
    w = p_t[y] - p_s[y] where one of them predicts y, else 0. A pair adds the mean over the batch of

        w (KL(p_t || p_s) + mean over classes of (p_t - p_s)^2),    w and p_t without gradient.

    Of several modalities it is the mean over all pairs; a pair of which a sample lacks one adds nothing for it.
    Source: the idea of a paper (WSDM 2023) that could not be read; `published` is our reading of it. `released` is
    what BalanceBenchmark computes: fused logits that are the sum of the modalities', gradients through both sides and
    w, p_s[y] in the place of its logarithm, and, of two modalities, squared differences of logits.
    """

    record: ClassVar[Record] = Record(
        paper="MBSD, WSDM 2023",
        families=("loss",),
        extra="a few operations on the logits",
        benchmark={"CREMA-D": 74.86, "KS": 68.82, "VGGSound": 49.48},
    )
    grid: ClassVar[Mapping[str, tuple[object, ...]]] = {"distillation_weight": (0.5, 1.0, 2.0)}
    weights_of_heads: ClassVar[tuple[str, ...]] = ("unimodal_weight",)
    variant: Literal["published", "released"] = "published"
    distillation_weight: Annotated[float, Field(ge=0)] = 1.0
    """Weight of what the modalities learn from each other; 0 is joint."""

    def asks_heads(self) -> bool:
        """Where they teach each other, unless the fused loss trains them."""
        return self.variant == "published" and self.distillation_weight > 0

    def prepare(self, model: "MultimodalModel") -> None:
        """In `released` the modalities' logits are the parts of the fused ones."""
        if self.variant == "released":
            model.fusion = None

    def loss(self, logits: "Mapping[str, Tensor]", labels: "Tensor") -> "Tensor":
        """The joint loss and, where it has a weight, the distillation."""
        loss = super().loss(logits, labels)
        if self.distillation_weight == 0:
            return loss
        return loss + self.distillation_weight * self.distillation(logits, labels)

    def distillation(self, logits: "Mapping[str, Tensor]", labels: "Tensor") -> "Tensor":
        """What the pairs of modalities add, a scalar.

        Args:
            logits: output name -> (B, C).
            labels: (B,), int64.
        """
        from itertools import combinations

        import torch

        z = [values for output, values in logits.items() if output != FUSED]
        released, true = self.variant == "released", labels[:, None]
        terms = []
        for pair in combinations(z, 2):
            both = torch.stack(pair)
            logs = both.log_softmax(dim=2)
            p = logs.exp()
            sure = p.gather(2, true.expand(2, -1, 1)).squeeze(2)
            right = (both.argmax(dim=2) == labels).any(dim=0) & both.any(dim=2).all(dim=0)
            w = (sure[0] - sure[1]).abs() * right
            surer = (sure[1] > sure[0])[:, None]
            t, s = torch.where(surer, logs[1], logs[0]), torch.where(surer, logs[0], logs[1])
            if released:
                apart = both if len(z) == 2 else p
                of_true = s.gather(1, true).squeeze(1)
                taught = of_true.exp() * (of_true - t.gather(1, true).squeeze(1).exp())
                taught = taught + (apart[0] - apart[1]).square().mean(dim=1)
            else:
                w, t = w.detach(), t.detach()
                taught = (t.exp() * (t - s)).sum(dim=1) + (t.exp() - s.exp()).square().mean(dim=1)
            terms.append((w * taught).mean())
        return torch.stack(terms).mean()
