"""ReconBoost: one modality at a time learns the residual of the others, then all are trained together."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from bss.errors import InputError
from bss.training.methods.method import Method, Record
from bss.types import FUSED

if TYPE_CHECKING:
    from torch import Tensor

    from bss.measure.evidence import Evidence
    from bss.model import MultimodalModel, Outputs
    from bss.training.loader import Batch
    from bss.training.trainer import Trainer


class ReconBoost(Method):
    """Stages go round the modalities, as gradient boosting goes round its learners.

    In the `boost_epochs` of its stage modality m trains alone. With p_m its prediction and q the softmax of the sum
    of the others' logits, without gradients, both of the true class, the loss is the mean of

        -(label_weight - residual_weight q) log p_m + memory_weight mse(p_m, p_l) over all classes,

    where l is the modality of the stage before and the first stage has no such term. In the `rectify_epochs` that
    follow, all train with the cross-entropy of the summed logits.

    Each modality has a head of two layers, of which the second is shared. Of several modalities q sums all but m.
    Momentum is forgotten where a stage begins to boost or to rectify.
    The evidence is the logits of all modalities, and their sum as "fused". Source: ReconBoost (ICML 2024).
    `released`: modalities of equal width share the first layer too, the boosting loss is divided by the number of
    classes, and the last term has no gradient, because the code detaches both sides of it.
    """

    record: ClassVar[Record] = Record(
        paper="ReconBoost, ICML 2024",
        families=("schedule", "loss"),
        extra="less, where one modality boosts",
        benchmark={"CREMA-D": 74.01, "KS": 68.38, "VGGSound": 47.27},
    )
    grid: ClassVar[Mapping[str, tuple[object, ...]]] = {"label_weight": (2.0, 5.0)}
    variant: Literal["published", "released"] = "published"
    boost_epochs: Annotated[int, Field(ge=0)] = 1
    """Epochs of a stage in which its modality trains alone."""
    rectify_epochs: Annotated[int, Field(ge=0)] = 1
    """Epochs of a stage in which all train together."""
    label_weight: Annotated[float, Field(gt=0)] = 5.0
    """Weight of the modality's own cross-entropy."""
    residual_weight: Annotated[float, Field(ge=0)] = 1.0
    """Weight that a sample loses where the others already have it right; 0 boosts nothing."""
    memory_weight: Annotated[float, Field(ge=0)] = 0.5
    """Weight of staying near the modality that was trained before."""
    hidden: Annotated[int, Field(ge=1)] = 256
    """Width of the heads' hidden layer."""

    @model_validator(mode="after")
    def _stages_train_and_residuals_are_not_negative(self) -> Self:
        if self.boost_epochs == self.rectify_epochs == 0:
            raise InputError("boost_epochs and rectify_epochs are both 0, and a stage would have no epoch")
        if self.residual_weight > self.label_weight:
            raise InputError(
                f"residual_weight is {self.residual_weight}, above label_weight ({self.label_weight}): samples that "
                "the others have would be unlearned"
            )
        return self

    def prepare(self, model: "MultimodalModel") -> None:
        """Heads of two layers, and no fusion of features."""
        from torch import nn

        model.fusion = None
        branches = {name: model.branch(name) for name in model.branches}
        last = nn.Linear(self.hidden, next(iter(branches.values())).head.out_features)
        first: dict[str | int, nn.Linear] = {}
        for name, branch in branches.items():
            width = branch.head.in_features
            sharers = width if self.variant == "released" else name
            first[sharers] = first.get(sharers) or nn.Linear(width, self.hidden)
            branch.head = nn.Sequential(first[sharers], nn.ReLU(), last)

    def trains(self, modalities: Sequence[str], epoch: int) -> Sequence[str]:
        """In a boosting epoch the modality whose stage it is."""
        number, boosts = self.stage(epoch)
        return [modalities[number % len(modalities)]] if boosts else modalities

    def begin_epoch(
        self,
        trainer: "Trainer",
        epoch: int,
        evidence: "Callable[[], Evidence]",
        validation: "Callable[[], Evidence]",
    ) -> None:
        """Boosting and rectifying each begin with an optimizer of their own, as in the code."""
        if epoch and self.boost_epochs and self.stage(epoch) != self.stage(epoch - 1):
            trainer.forget_momentum()

    def stage(self, epoch: int) -> tuple[int, bool]:
        """The stage of an epoch, both from 0, and whether it boosts."""
        number, place = divmod(epoch, self.boost_epochs + self.rectify_epochs)
        return number, place < self.boost_epochs

    def step(self, trainer: "Trainer", batch: "Batch") -> "tuple[Outputs, Tensor]":
        """One update of all modalities or, in a boosting epoch, of the one whose stage it is."""
        number, boosts = self.stage(trainer.epoch)
        if not boosts:
            return super().step(trainer, batch)
        import torch

        from bss.model import Outputs

        names = list(trainer.model.branches)
        [turn] = self.trains(names, trainer.epoch)
        with torch.no_grad():
            others = trainer.forward(batch.of([name for name in names if name != turn]))
        trained = trainer.forward(batch.of([turn]))
        before = others.logits[names[(number - 1) % len(names)]] if number else None
        loss = self.boosting_loss(trained.logits[turn], [*others.logits.values()], before, batch.labels)
        trainer.backward(loss)
        trainer.update()
        logits, features = (
            {name: {**group, **other}[name] for name in names} for group, other in zip(trained, others, strict=True)
        )
        return Outputs({**logits, FUSED: torch.stack([*logits.values()]).sum(dim=0)}, features), loss

    def loss(self, logits: "Mapping[str, Tensor]", labels: "Tensor") -> "Tensor":
        """The cross-entropy of the summed logits."""
        from bss.training.losses import cross_entropy

        return cross_entropy(logits[FUSED], labels)

    def boosting_loss(
        self, own: "Tensor", others: "list[Tensor]", before: "Tensor | None", labels: "Tensor"
    ) -> "Tensor":
        """The loss of the modality whose stage it is.

        Args:
            own: its logits (B, C).
            others: the logits of each of the others.
            before: the logits of the modality that was trained before it, if any was; zeros of what a sample lacks,
                which is no prediction to be near.
            labels: (B,), int64.
        """
        import torch
        from torch.nn.functional import mse_loss

        from bss.training.losses import cross_entropy

        q = torch.stack(others).sum(dim=0).softmax(dim=1).gather(1, labels[:, None]).squeeze(1)
        weights = self.label_weight - self.residual_weight * q
        loss = (weights * cross_entropy(own, labels, reduction="none")).mean()
        if self.variant == "released":
            return loss / own.shape[1]
        if before is None or self.memory_weight == 0:
            return loss
        p = own.softmax(dim=1)
        remembered = torch.where(before.any(dim=1, keepdim=True), before.softmax(dim=1), p.detach())
        return loss + self.memory_weight * mse_loss(p, remembered)
