"""Linear evaluation: classifiers and fusion learn on the encoders that the warm-up has left."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from bss.training.methods._probes import detach_heads
from bss.training.methods.joint import Joint
from bss.training.methods.method import Record

if TYPE_CHECKING:
    from torch import Tensor

    from bss.model import MultimodalModel, Outputs
    from bss.training.loader import Batch
    from bss.training.trainer import Trainer


class Probe(Joint):
    """The joint loss, of which no gradient reaches an encoder.

    Encoders are in eval mode, so that nothing of them moves. Where classifiers and fusion are linear in the features,
    it is the linear evaluation of self-supervised learning, here of a warm-up.
    """

    record: ClassVar[Record] = Record(paper="-", families=("baseline",), extra="less: no backward pass of encoders")
    grid: ClassVar[Mapping[str, tuple[object, ...]]] = {}

    def prepare(self, model: "MultimodalModel") -> None:
        """Cut heads and fusion off from the encoders."""
        detach_heads(model)
        if model.fusion is not None:
            model.fusion.register_forward_pre_hook(_without_gradients)

    def trains(self, modalities: Sequence[str], epoch: int) -> Sequence[str]:
        """None."""
        return ()

    def step(self, trainer: "Trainer", batch: "Batch") -> "tuple[Outputs, Tensor]":
        """One update of classifiers and fusion."""
        for modality in trainer.model.branches:
            trainer.model.branch(modality).encoder.eval()
        return super().step(trainer, batch)


def _without_gradients(fusion: object, inputs: "tuple[Mapping[str, Tensor]]") -> "tuple[dict[str, Tensor]]":
    return ({name: features.detach() for name, features in inputs[0].items()},)
