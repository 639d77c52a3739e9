"""Each modality alone: what it can do with nothing beside it."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, ClassVar

from bss.training.methods.method import Method, Record
from bss.types import FUSED

if TYPE_CHECKING:
    from torch import Tensor, nn

    from bss.model import MultimodalModel


class Unimodal(Method):
    """The modalities side by side: no fusion, no shared weight, so each trains as it would by itself.

    It starts from the initial weights, because the warm-up's encoders have learned together, and each modality
    keeps its own best epoch. The fusion head stays untrained and is not judged.
    """

    record: ClassVar[Record] = Record(paper="-", families=("baseline",), extra="-")
    from_warmup: ClassVar[bool] = False

    def loss(self, logits: Mapping[str, "Tensor"], labels: "Tensor") -> "Tensor":
        """Sum over the modalities of the mean cross-entropy; no gradient of one reaches another."""
        import torch

        from bss.training.losses import cross_entropy

        return torch.stack([cross_entropy(logits[output], labels) for output in self.judged(logits)]).sum()

    def selected(self, model: "MultimodalModel") -> Mapping[str, "nn.Module"]:
        """Each modality's branch at its own best epoch."""
        return dict(model.branches.items())

    def judged(self, outputs: Iterable[str]) -> list[str]:
        """The modalities."""
        return [output for output in outputs if output != FUSED]
