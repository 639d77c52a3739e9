"""TCMax: the total correlation of features and label is maximised, over all combinations of a batch's features."""

from collections.abc import Mapping
from math import log
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from bss.training.methods.method import Method, Record
from bss.types import FUSED

if TYPE_CHECKING:
    from torch import Tensor

    from bss.model import MultimodalModel, Outputs
    from bss.training.loader import Batch
    from bss.training.trainer import Trainer


class TCMax(Method):
    """Minus the mean fused logit of the true class, plus the log of the sum of exp over all combinations.

    With z_m the modalities' logits, z their sum, B samples and C classes, the loss is

        -mean_i z_i[y_i] + log sum_c prod_m sum_i exp z_{m,i,c} - log B.

    The second term runs over all B^M ways to put features of several samples together, of which the fused logits are
    the sum: what is likely of them whatever is put together, says nothing of the label. Only its gradient counts:
    `published` has another constant, M log B + log C in the place of log B.

    With `combinations` K the fusion of the parameters stays. Then z_i are its logits, and the second term is
    estimated by K combinations that are drawn anew in each step, with replacement: the log of the sum of exp z_{k,c}
    over them and the classes, plus M log B - log K. The modalities' heads are probes, as in `fused_only`.

    Source: TCMax (ICLR 2026) and its code.
    """

    record: ClassVar[Record] = Record(
        paper="TCMax, ICLR 2026", families=("loss",), extra="a few operations on the logits"
    )
    grid: ClassVar[Mapping[str, tuple[object, ...]]] = {"shared_head": (True, False)}
    variant: Literal["published", "released"] = "published"
    shared_head: bool = True
    """Whether the modalities share a head, where their logits are summed; those narrower than the widest are brought
    to its width before it."""
    combinations: Annotated[int, Field(ge=0)] = 0
    """Random combinations of a step, K, by which the fusion of the parameters is trained; with 0 the logits of the
    modalities are summed in its place, and all combinations count."""

    @property
    def can_share(self) -> tuple[str, ...]:
        """None with combinations, of which each has features of several ranks."""
        return () if self.combinations else self.strategies

    def prepare(self, model: "MultimodalModel") -> None:
        """The sum of the modalities' logits in place of the fusion, and a shared head where asked for; or probes."""
        from bss.training.methods._heads import share_head
        from bss.training.methods._probes import detach_heads

        if self.combinations:
            detach_heads(model)
            return
        model.fusion = None
        if self.shared_head:
            share_head(model)

    def step(self, trainer: "Trainer", batch: "Batch") -> "tuple[Outputs, Tensor]":
        """One update, by all combinations or by some of them."""
        outputs = trainer.forward(batch.inputs)
        if not self.combinations:
            return self.descend(trainer, batch, outputs, self.loss(outputs.logits, batch.labels))
        drawn = trainer.fuse(self._drawn(trainer, outputs.features))
        loss = self.estimated_loss(outputs.logits, drawn, batch.labels)
        return self.descend(trainer, batch, outputs, loss)

    def loss(self, logits: "Mapping[str, Tensor]", labels: "Tensor") -> "Tensor":
        """The cross-entropy, plus the log-sum over all combinations less the mean one of the pairs as they are."""
        import torch

        z = torch.stack([values for output, values in logits.items() if output != FUSED])
        combined = z.logsumexp(dim=1).sum(dim=0).logsumexp(dim=0)
        return self._against(combined, logits[FUSED], labels, len(z))

    def estimated_loss(self, logits: "Mapping[str, Tensor]", drawn: "Tensor", labels: "Tensor") -> "Tensor":
        """The same by some combinations, and the cross-entropies of the probes.

        Args:
            logits: output name -> (B, C).
            drawn: the fusion's logits of the combinations, (K, C).
            labels: (B,), int64.
        """
        import torch

        from bss.training.losses import cross_entropy

        probes = [cross_entropy(values, labels) for output, values in logits.items() if output != FUSED]
        combined = drawn.flatten().logsumexp(dim=0) + len(probes) * log(len(labels)) - log(len(drawn))
        return self._against(combined, logits[FUSED], labels, len(probes)) + torch.stack(probes).sum()

    def _against(self, combined: "Tensor", fused: "Tensor", labels: "Tensor", num_modalities: int) -> "Tensor":
        """The loss of the pairs as they are against the log-sum over all combinations."""
        from bss.training.losses import cross_entropy

        size, classes = fused.shape
        constant = log(size) if self.variant == "released" else num_modalities * log(size) + log(classes)
        return cross_entropy(fused, labels) + combined - fused.logsumexp(dim=1).mean() - constant

    def _drawn(self, trainer: "Trainer", features: "Mapping[str, Tensor]") -> "dict[str, Tensor]":
        """Modality -> the features of the combinations, (K, width): of each modality those of a sample of its own."""
        import torch

        generator, shape = trainer.generator("combinations"), (self.combinations,)
        return {
            name: values[torch.randint(len(values), shape, generator=generator, device=generator.device)]
            for name, values in features.items()
        }
