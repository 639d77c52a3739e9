"""MMLoRA: each modality alone, then low-rank adapters of all encoders together."""

from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from bss.errors import InputError
from bss.training.methods._means import mean_of_logits
from bss.training.methods.method import Method, Record
from bss.types import FUSED

if TYPE_CHECKING:
    from torch import Tensor

    from bss.measure.evidence import Evidence
    from bss.model import MultimodalModel, Outputs
    from bss.training.loader import Batch
    from bss.training.trainer import Trainer


class MMLoRA(Method):
    """For `alone_epochs` each modality trains alone, as in `unimodal`. Then the encoders stay as they are, in eval
    mode, and adapters of their weights train with the heads, by the cross-entropy of the mean of the logits.

    The weight W of a layer becomes W + (alpha / rank) B A, where A (rank, columns) begins at random and B (rows,
    rank) with zeros: where the second phase begins the prediction is that of the modalities alone. A matrix whose
    smaller side is below the rank has an adapter of that side. Which layers take one is in `_adapters.ADAPTABLE`.

    Source: MMLoRA (arXiv 2310.05193), of which an abstract and reviews could be read. INFERRED: that heads train in
    the second phase, and by the mean of the logits.
    """

    record: ClassVar[Record] = Record(
        paper="MMLoRA, 2023", families=("architecture", "schedule"), extra="a small product a layer"
    )
    from_warmup: ClassVar[bool] = False
    strategies: ClassVar[tuple[str, ...]] = ("ddp",)
    grid: ClassVar[Mapping[str, tuple[object, ...]]] = {"rank": (2, 8, 32)}
    example: ClassVar[Mapping[str, Any]] = {"rank": 3, "alone_epochs": 2}
    rank: Annotated[int, Field(ge=1)] = 8
    """Rank of an adapter."""
    alpha: Annotated[float, Field(gt=0)] | None = None
    """Strength of an adapter, times its rank; the rank itself where left out."""
    modalities: Annotated[tuple[str, ...], Field(min_length=1, strict=False)] | None = None
    """The modalities whose encoders get adapters; all where left out. The others' encoders stay as they are."""
    alone_epochs: Annotated[int, Field(ge=0)] = 6
    """Epochs in which each modality trains alone, from the initial weights on."""

    @property
    def least_epochs(self) -> int:
        """One with adapters."""
        return self.alone_epochs + 1

    def check_shapes(self, shapes: Mapping[str, tuple[int, ...]], words: Collection[str] = ()) -> None:
        """Refuse names that are no modalities."""
        for name in self.modalities or ():
            if name not in shapes:
                raise InputError(f"modalities: '{name}' is none of {', '.join(shapes)}")

    def prepare(self, model: "MultimodalModel") -> None:
        """Adapters beside the encoders' weights, and the mean of the logits in place of the fusion."""
        from bss.training.methods._adapters import add_adapters

        self.prepare_exported(model)
        for name in model.branches if self.modalities is None else self.modalities:
            try:
                add_adapters(model.branch(name).encoder, self.rank, (self.alpha or self.rank) / self.rank)
            except InputError as error:
                raise InputError(f"mmlora, modality '{name}': {error} (`modalities` may leave it out)") from error

    def export(self, model: "MultimodalModel") -> None:
        """Merge the adapters into the weights."""
        from bss.training.methods._adapters import merge_adapters

        merge_adapters(model)

    def prepare_exported(self, model: "MultimodalModel") -> None:
        """The mean of the logits in place of the fusion."""
        mean_of_logits(model)

    def begin_epoch(
        self,
        trainer: "Trainer",
        epoch: int,
        evidence: "Callable[[], Evidence]",
        validation: "Callable[[], Evidence]",
    ) -> None:
        """The second phase begins with an optimizer of its own."""
        if epoch and epoch == self.alone_epochs:
            trainer.forget_momentum()

    def step(self, trainer: "Trainer", batch: "Batch") -> "tuple[Outputs, Tensor]":
        """One update of the modalities alone, or of heads and adapters with the encoders in eval mode."""
        if not self._is_alone(trainer):
            for name in trainer.model.branches:
                trainer.model.branch(name).encoder.eval()
        outputs = trainer.forward(batch.inputs)
        trained = [name for name in outputs.logits if (name != FUSED) == self._is_alone(trainer)]
        loss = self.loss({name: outputs.logits[name] for name in trained}, batch.labels)
        return self.descend(trainer, batch, outputs, loss)

    def loss(self, logits: Mapping[str, "Tensor"], labels: "Tensor") -> "Tensor":
        """Sum over the outputs of the mean cross-entropy: of the modalities, or of the fusion."""
        import torch

        from bss.training.losses import cross_entropy

        return torch.stack([cross_entropy(values, labels) for values in logits.values()]).sum()

    def on_gradients(self, trainer: "Trainer", outputs: "Outputs", batch: "Batch") -> None:
        """Drop those of the adapters in the first phase, and those of the encoders' own weights in the second."""
        from bss.training.methods._adapters import adapters

        for name in trainer.model.branches:
            encoder = trainer.model.branch(name).encoder
            added = {id(weight) for adapter in adapters(encoder) for weight in adapter.parameters()}
            for weight in encoder.parameters():
                if (id(weight) in added) == self._is_alone(trainer):
                    weight.grad = None

    def _is_alone(self, trainer: "Trainer") -> bool:
        return trainer.epoch < self.alone_epochs
