"""G2D: unimodal teachers, and the modality that they are least sure of trains first."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

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


class G2D(Method):
    """For `teacher_epochs` a copy of each modality's branch trains alone, as in `unimodal`. Then it teaches: the
    model, whose fused logits z are the mean of the modalities', trains from its own initial weights by

        CE(z) + sum_m (feature_weight MSE(f_m, t_m) + logit_weight KL(p_m || softmax(z))),

    where t_m are the features and p_m the probabilities of modality m's teacher, in eval mode and without gradients.

    In the first `prioritised_epochs` after those of the teachers the encoders take turns (sequential modality
    prioritisation): of M modalities there are M - 1 turns of the same length, and in turn k a batch trains the one
    encoder whose confidence, the sum of its teacher's probabilities of the true classes, is the k-th smallest. The
    gradients of the others are zero. Without teachers the model's own heads take their place in that order, which
    is INFERRED: those of the batch, or with `ranks: warmup` those of the warm-up, once for all, over the training
    pairs. An absent modality has no part in a sample's losses.

    Source: G2D (ICCV 2025), by its code. `released` sets the gradients of convolutions alone to zero.
    """

    record: ClassVar[Record] = Record(
        paper="G2D, ICCV 2025", families=("loss", "schedule"), extra="a pass of the teachers; their epochs"
    )
    from_warmup: ClassVar[bool] = False
    strategies: ClassVar[tuple[str, ...]] = ("ddp",)
    grid: ClassVar[Mapping[str, tuple[object, ...]]] = {"prioritised_epochs": (0, 2, 4)}
    example: ClassVar[Mapping[str, Any]] = {"teacher_epochs": 2, "prioritised_epochs": 1}
    variant: Literal["published", "released"] = "published"
    teacher_epochs: Annotated[int, Field(ge=0)] = 5
    """Epochs in which the teachers train, which are epochs of the training; 0 teaches nothing."""
    prioritised_epochs: Annotated[int, Field(ge=0)] = 4
    """Epochs, after the teachers', in which the encoders take turns."""
    feature_weight: Annotated[float, Field(ge=0)] = 1.0
    """Weight of staying near the teachers' features, alpha."""
    logit_weight: Annotated[float, Field(ge=0)] = 1.0
    """Weight of staying near the teachers' probabilities, beta."""
    ranks: Literal["batch", "warmup"] = "batch"
    """Whose confidence ranks the encoders: the teachers' in each batch, or without teachers the model's; or that of
    the warm-up's heads, from whose weights the training then goes on."""

    @model_validator(mode="after")
    def _the_warmup_ranks_in_place_of_teachers(self) -> Self:
        if self.ranks == "warmup" and self.teacher_epochs:
            raise InputError(
                f"ranks is warmup and teacher_epochs {self.teacher_epochs}: the warm-up's heads rank where no "
                "teachers do; set teacher_epochs to 0, or ranks to batch"
            )
        return self

    @property
    def goes_on(self) -> bool:
        """Where the warm-up ranks."""
        return self.ranks == "warmup"

    @property
    def least_epochs(self) -> int:
        """One in which all train."""
        return self.teacher_epochs + self.prioritised_epochs + 1

    def prepare(self, model: "MultimodalModel") -> None:
        """A teacher of each modality, and the mean of the logits in place of the fusion."""
        from bss.training.methods._teachers import add_teachers

        add_teachers(model)
        self.prepare_exported(model)

    def export(self, model: "MultimodalModel") -> None:
        """Leave the teachers out."""
        from bss.training.methods._teachers import remove_teachers

        remove_teachers(model)

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
        """With `ranks: warmup` rank by the weights as they come: `memory` has "ranks" (M,), the least sure first."""
        import torch

        if self.ranks != "warmup" or epoch or not self.prioritised_epochs:
            return
        clean, names = evidence(), list(trainer.model.branches)
        sums = sums_of_confidence({name: clean.logits[name] for name in names}, clean.labels)
        places = sorted(range(len(names)), key=lambda place: sums[names[place]])
        trainer.memory["ranks"] = torch.tensor(trainer.runtime.agreed(places), device=trainer.runtime.device)

    def step(self, trainer: "Trainer", batch: "Batch") -> "tuple[Outputs, Tensor]":
        """One update of the teachers or, after theirs, of the model."""
        from bss.training.methods._teachers import lesson, teach
        from bss.training.methods.umt import distance

        if trainer.epoch < self.teacher_epochs:
            return teach(trainer, batch)
        taught = lesson(trainer, batch) if self.teacher_epochs else None
        outputs = trainer.forward(batch.inputs)
        loss = self.loss(outputs.logits, batch.labels)
        if taught and self.feature_weight:
            own, theirs = ({n: trainer.whole(v) for n, v in one.features.items()} for one in (outputs, taught))
            loss = loss + self.feature_weight * distance(own, theirs)
        if taught and self.logit_weight:
            loss = loss + self.logit_weight * divergence(taught.logits, outputs.logits[FUSED])
        trainer.backward(loss)
        self._hold_back(trainer, taught.logits if taught else outputs.logits, batch)
        trainer.update()
        return outputs, loss

    def loss(self, logits: Mapping[str, "Tensor"], labels: "Tensor") -> "Tensor":
        """The cross-entropy of the mean of the logits."""
        from bss.training.losses import cross_entropy

        return cross_entropy(logits[FUSED], labels)

    def turn(self, epoch: int, num_modalities: int) -> int | None:
        """The place, from 0 of the least sure, of the modality that an epoch of the model trains; None for all.

        Args:
            epoch: from 0, after those of the teachers.
            num_modalities: M.
        """
        return epoch * (num_modalities - 1) // self.prioritised_epochs if epoch < self.prioritised_epochs else None

    def _hold_back(self, trainer: "Trainer", logits: Mapping[str, "Tensor"], batch: "Batch") -> None:
        """Set the gradients of the encoders to zero whose turn it is not."""
        names = list(trainer.model.branches)
        turn = self.turn(trainer.epoch - self.teacher_epochs, len(names))
        if turn is None:
            return
        if self.ranks == "warmup":
            chosen = names[int(trainer.memory["ranks"][turn])]
        else:
            confidence = sums_of_confidence({name: logits[name] for name in names}, batch.labels)
            chosen = sorted(names, key=confidence.__getitem__)[turn]
        for name in names:
            for weight in trainer.model.branch(name).encoder.parameters() if name != chosen else ():
                if weight.grad is not None and (self.variant == "published" or weight.ndim == 4):
                    weight.grad.zero_()


def sums_of_confidence(logits: Mapping[str, "Tensor"], labels: "Tensor") -> dict[str, float]:
    """Modality -> the sum over the samples of its probability of the true class; 0 for a sample that lacks it.

    Args:
        logits: modality -> (n, C).
        labels: (n,), int64.
    """
    return {
        name: float((z.detach().softmax(dim=1).gather(1, labels[:, None])[:, 0] * z.any(dim=1)).sum())
        for name, z in logits.items()
    }


def divergence(taught: Mapping[str, "Tensor"], fused: "Tensor") -> "Tensor":
    """The sum over the modalities of the mean over the batch of KL(teacher || fused), a scalar, in nats.

    A modality that a sample lacks adds nothing to it.

    Args:
        taught: modality -> logits of its teacher, (B, C).
        fused: logits (B, C).
    """
    import torch
    from torch.nn.functional import kl_div

    logs = fused.log_softmax(dim=1)
    found = [
        (kl_div(logs, z.log_softmax(dim=1), reduction="none", log_target=True).sum(dim=1) * z.any(dim=1)).mean()
        for z in taught.values()
    ]
    return torch.stack(found).sum()
