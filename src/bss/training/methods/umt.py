"""Unimodal teachers: encoders learn the fused task and stay near what each modality finds by itself."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from bss.training.methods.fused_only import FusedOnly
from bss.training.methods.method import Record

if TYPE_CHECKING:
    from torch import Tensor

    from bss.model import MultimodalModel, Outputs
    from bss.training.loader import Batch
    from bss.training.trainer import Trainer


class UMT(FusedOnly):
    """For `teacher_epochs` a copy of each modality's branch trains alone, as in `unimodal`. Then it teaches: the
    model trains from its own initial weights by

        CE(fused) + feature_weight sum_m MSE(f_m, t_m),

    where t_m are the features of modality m's teacher, in eval mode and without gradients, and MSE the mean over
    the batch and the width. Heads are probes as in `fused_only`, which it is without teachers.

    Source: UMT (ICML 2023), of which the abstract could be read; the formula is that of BalanceBenchmark, where the
    teachers stay in train mode.
    """

    record: ClassVar[Record] = Record(
        paper="UMT, ICML 2023",
        families=("loss",),
        extra="a pass of the teachers; their epochs",
        benchmark={"CREMA-D": 67.47, "KS": 68.6, "VGGSound": 51.58},
    )
    from_warmup: ClassVar[bool] = False
    strategies: ClassVar[tuple[str, ...]] = ("ddp",)
    grid: ClassVar[Mapping[str, tuple[object, ...]]] = {"feature_weight": (1.0, 10.0, 50.0)}
    example: ClassVar[Mapping[str, Any]] = {"teacher_epochs": 2}
    teacher_epochs: Annotated[int, Field(ge=0)] = 6
    """Epochs in which the teachers train, which are epochs of the training; 0 teaches nothing."""
    feature_weight: Annotated[float, Field(ge=0)] = 10.0
    """Weight of staying near the teachers' features, lambda."""

    @property
    def least_epochs(self) -> int:
        """One with the teachers trained."""
        return self.teacher_epochs + 1

    def prepare(self, model: "MultimodalModel") -> None:
        """A teacher of each modality, and heads that are cut off from the encoders."""
        from bss.training.methods._teachers import add_teachers

        add_teachers(model)
        self.prepare_exported(model)

    def export(self, model: "MultimodalModel") -> None:
        """Leave the teachers out."""
        from bss.training.methods._teachers import remove_teachers

        remove_teachers(model)

    def prepare_exported(self, model: "MultimodalModel") -> None:
        """As `fused_only`."""
        super().prepare(model)

    def step(self, trainer: "Trainer", batch: "Batch") -> "tuple[Outputs, Tensor]":
        """One update of the teachers or, after theirs, of the model."""
        from bss.training.methods._teachers import lesson, teach

        if trainer.epoch < self.teacher_epochs:
            return teach(trainer, batch)
        if self.teacher_epochs == 0 or self.feature_weight == 0:
            return super().step(trainer, batch)
        taught = lesson(trainer, batch).features
        outputs = trainer.forward(batch.inputs)
        loss = self.loss(outputs.logits, batch.labels)
        features = {name: trainer.whole(values) for name, values in outputs.features.items()}
        loss = loss + self.feature_weight * distance(
            features, {name: trainer.whole(taught[name]) for name in features}
        )
        return self.descend(trainer, batch, outputs, loss)


def distance(features: Mapping[str, "Tensor"], taught: Mapping[str, "Tensor"]) -> "Tensor":
    """The sum over the modalities of the mean squared difference, a scalar.

    Args:
        features: modality -> (B, width).
        taught: the same of the teachers.
    """
    import torch
    from torch.nn.functional import mse_loss

    return torch.stack([mse_loss(values.float(), taught[name].float()) for name, values in features.items()]).sum()
