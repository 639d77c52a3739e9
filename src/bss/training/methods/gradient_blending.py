"""Gradient blending: an output weighs the more the better it generalises, and the less it overfits."""

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from bss.training.methods.method import Method, Record
from bss.types import FUSED

if TYPE_CHECKING:
    from torch import Tensor

    from bss.measure.evidence import Evidence
    from bss.model import MultimodalModel, Outputs
    from bss.training.loader import Batch
    from bss.training.trainer import Trainer

LEAST = 1e-8
"""What a squared overfitting counts at least."""


class GradientBlending(Method):
    """The loss is sum_k w_k L_k over the modalities and the fusion, with weights that measurements give.

    A measurement lasts a super-epoch. With `estimate: copies` the model rests and copies of it train from where it
    is: the branches by the cross-entropy of each modality alone, encoders and fusion by that of the fusion alone.
    With L^T and L^V an output's mean loss on training and validation split, before (0) and after (n), its copy has

        G = L^V_0 - L^V_n,    O = (L^V_n - L^T_n) - (L^V_0 - L^T_0),    w = G / O^2 over its sum over the outputs.

    An output with G <= 0 weighs 0, O^2 is at least 1e-8, and where all would weigh 0 they weigh alike, which is
    INFERRED. `offline` measures once, at the beginning; `online` measures and trains in turns of a super-epoch each.
    `estimate: joint`, INFERRED too, needs no copies and no epochs: it takes the losses of the model itself at both
    ends of a super-epoch, in the first of which all outputs weigh alike.

    Source: Gradient Blending (CVPR 2020), of which the abstract could be read; the steps are also BalanceBenchmark's.
    """

    record: ClassVar[Record] = Record(
        paper="G-Blend, CVPR 2020",
        families=("loss",),
        extra="twice in epochs of measurement; two passes a super-epoch",
        benchmark={"CREMA-D": 71.59, "KS": 68.82, "VGGSound": 51.41},
    )
    strategies: ClassVar[tuple[str, ...]] = ("ddp",)
    looks_at_validation: ClassVar[bool] = True
    grid: ClassVar[Mapping[str, tuple[object, ...]]] = {"mode": ("offline", "online")}
    example: ClassVar[Mapping[str, Any]] = {"super_epoch": 1}
    mode: Literal["offline", "online"] = "online"
    """Whether the weights are measured once, or again after each super-epoch of training."""
    estimate: Literal["copies", "joint"] = "copies"
    """Whose losses are measured: of a copy for each output, which trains by that output alone, or of the model."""
    super_epoch: Annotated[int, Field(ge=1)] = 2
    """Epochs of a measurement, and of the training between two."""

    @property
    def least_epochs(self) -> int:
        """One with measured weights."""
        return self.super_epoch + 1

    def prepare(self, model: "MultimodalModel") -> None:
        """Copies of the model, where they are measured."""
        from bss.training.methods._copies import add_copies

        if self.estimate == "copies":
            add_copies(model)

    def export(self, model: "MultimodalModel") -> None:
        """Leave the copies out."""
        from bss.training.methods._copies import remove_copies

        if self.estimate == "copies":
            remove_copies(model)

    def prepare_exported(self, model: "MultimodalModel") -> None:
        """Nothing: what is left is the model as it was built."""

    def begin_epoch(
        self,
        trainer: "Trainer",
        epoch: int,
        evidence: "Callable[[], Evidence]",
        validation: "Callable[[], Evidence]",
    ) -> None:
        """Where a measurement ends, renew the weights: `memory` has them as "weights" (M + 1,), the fusion last."""
        import torch

        from bss.training.methods._copies import copies_asked, restart_copies
        from bss.training.methods._measured import mean_losses

        by_copies, memory = self.estimate == "copies", trainer.memory
        begins, ends = self.boundary(epoch)
        if not begins and not ends:
            return
        outputs = [*trainer.model.branches, FUSED]
        with copies_asked(trainer.model) if by_copies and ends else nullcontext():
            losses = torch.stack([mean_losses(split(), outputs) for split in (evidence, validation)]).nan_to_num(0.0)
        losses = losses.to(trainer.runtime.device)
        if ends:
            memory["weights"] = blending_weights(memory["losses before"], losses)
        if begins:
            memory["losses before"] = losses
            if by_copies:
                restart_copies(trainer)

    def boundary(self, epoch: int) -> tuple[bool, bool]:
        """Whether a measurement begins with an epoch, and whether one has ended before it."""
        number, rest = divmod(epoch, self.super_epoch)
        if rest:
            return False, False
        if self.mode == "offline":
            return number == 0, number == 1
        return (number % 2 == 0, number % 2 == 1) if self.estimate == "copies" else (True, number > 0)

    def measures(self, epoch: int) -> bool:
        """Whether an epoch trains the copies, while the model rests."""
        number = epoch // self.super_epoch
        return self.estimate == "copies" and (number == 0 if self.mode == "offline" else number % 2 == 0)

    def step(self, trainer: "Trainer", batch: "Batch") -> "tuple[Outputs, Tensor]":
        """One update of the copies, or of the model by the weighted losses."""
        import torch

        from bss.training.losses import cross_entropy
        from bss.training.methods._copies import train_copies

        if self.measures(trainer.epoch):
            return train_copies(trainer, batch)
        outputs = trainer.forward(batch.inputs)
        names = [*trainer.model.branches, FUSED]
        weights = trainer.memory.get("weights", torch.full((len(names),), 1 / len(names), device=batch.labels.device))
        losses = torch.stack([cross_entropy(outputs.logits[name], batch.labels) for name in names])
        return self.descend(trainer, batch, outputs, (weights.to(losses.dtype) * losses).sum())


def blending_weights(before: "Tensor", after: "Tensor") -> "Tensor":
    """w (outputs,), at least 0, of sum 1: large for what generalised while it overfitted little.

    Args:
        before: (2, outputs), float64: of the training split, and of validation.
        after: the same after the measurement.
    """
    import torch

    generalised = before[1] - after[1]
    overfitted = (after[1] - after[0]) - (before[1] - before[0])
    raw = generalised.clamp(min=0) / overfitted.square().clamp(min=LEAST)
    total = raw.sum()
    return raw / total if total > 0 else torch.full_like(raw, 1 / len(raw))
