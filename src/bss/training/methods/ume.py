"""Unimodal ensemble: each modality alone, and the mean of what they say."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, ClassVar

from bss.training.methods._means import mean_of_probabilities
from bss.training.methods.method import Record
from bss.training.methods.unimodal import Unimodal
from bss.types import FUSED

if TYPE_CHECKING:
    from torch import Tensor, nn

    from bss.model import MultimodalModel


class UME(Unimodal):
    """The modalities train side by side as in `unimodal`; the fused prediction is the mean of their probabilities.

    No gradient passes between the modalities, so nothing is learned of pairs: what a method of balanced training
    has to beat. The epoch that is kept is the one whose mean is best. Source: UME, the companion of UMT (ICML 2023).
    """

    record: ClassVar[Record] = Record(paper="UME, ICML 2023", families=("baseline", "fusion"), extra="none")

    def prepare(self, model: "MultimodalModel") -> None:
        """The mean of the modalities' probabilities in place of the fusion."""
        mean_of_probabilities(model)

    def loss(self, logits: Mapping[str, "Tensor"], labels: "Tensor") -> "Tensor":
        """Sum over the modalities of the mean cross-entropy; the mean is not trained."""
        return super().loss({output: values for output, values in logits.items() if output != FUSED}, labels)

    def selected(self, model: "MultimodalModel") -> Mapping[str, "nn.Module"]:
        """The whole model by its mean."""
        return {FUSED: model}

    def judged(self, outputs: Iterable[str]) -> list[str]:
        """All."""
        return list(outputs)
