"""TCMax: the total correlation of features and label is maximised, over all combinations of a batch's features."""

from collections.abc import Mapping
from math import log
from typing import TYPE_CHECKING, ClassVar, Literal

from bss.training.methods.method import Method, Record
from bss.types import FUSED

if TYPE_CHECKING:
    from torch import Tensor

    from bss.model import MultimodalModel


class TCMax(Method):
    """Minus the mean fused logit of the true class, plus the log of the sum of exp over all combinations.

    With z_m the modalities' logits, z their sum, B samples and C classes, the loss is

        -mean_i z_i[y_i] + log sum_c prod_m sum_i exp z_{m,i,c} - log B.

    The second term runs over all B^M ways to put features of several samples together, of which the fused logits are
    the sum: what is likely of them whatever is put together, says nothing of the label. Only its gradient counts:
    `published` has another constant, M log B + log C in the place of log B. Source: TCMax (ICLR 2026).
    """

    record: ClassVar[Record] = Record(
        paper="TCMax, ICLR 2026", families=("loss",), extra="a few operations on the logits"
    )
    grid: ClassVar[Mapping[str, tuple[object, ...]]] = {"shared_head": (True, False)}
    variant: Literal["published", "released"] = "published"
    shared_head: bool = True
    """Whether the modalities share a head; those narrower than the widest are brought to its width before it."""

    def prepare(self, model: "MultimodalModel") -> None:
        """The sum of the modalities' logits in place of the fusion, and a shared head where asked for."""
        from bss.training.methods._heads import share_head

        model.fusion = None
        if self.shared_head:
            share_head(model)

    def loss(self, logits: "Mapping[str, Tensor]", labels: "Tensor") -> "Tensor":
        """The cross-entropy, plus the log-sum over all combinations less the mean one of the pairs as they are."""
        import torch

        from bss.training.losses import cross_entropy

        z = torch.stack([values for output, values in logits.items() if output != FUSED])
        fused, (number, size, classes) = logits[FUSED], z.shape
        combinations = z.logsumexp(dim=1).sum(dim=0).logsumexp(dim=0)
        constant = log(size) if self.variant == "released" else number * log(size) + log(classes)
        return cross_entropy(fused, labels) + combinations - fused.logsumexp(dim=1).mean() - constant
