"""Plain late fusion: nothing but the fused prediction trains the encoders."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from bss.training.methods._probes import detach_heads
from bss.training.methods.joint import Joint
from bss.training.methods.method import Record

if TYPE_CHECKING:
    from bss.model import MultimodalModel


class FusedOnly(Joint):
    """The cross-entropy of the fusion, the weakest baseline of every paper.

    Each modality's head is a probe: it learns from the features as they are, and no gradient of its loss reaches an
    encoder. So each modality has a prediction, which scores and tables need, and the fusion trains as without.
    """

    record: ClassVar[Record] = Record(
        paper="-", families=("baseline",), extra="none", benchmark={"CREMA-D": 65.5, "KS": 65.63, "VGGSound": 48.08}
    )
    grid: ClassVar[Mapping[str, tuple[object, ...]]] = {}

    def prepare(self, model: "MultimodalModel") -> None:
        """Cut the heads off from the encoders."""
        detach_heads(model)
