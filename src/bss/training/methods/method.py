"""The contract of a training method."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple

import numpy as np

from bss.registry import Component, Registry
from bss.types import FUSED

if TYPE_CHECKING:
    from torch import Tensor, nn

    from bss.measure.evidence import Evidence
    from bss.model import MultimodalModel, Outputs
    from bss.training.loader import Batch
    from bss.training.trainer import Trainer


Family = Literal["baseline", "gradient", "loss", "architecture", "data", "schedule", "fusion"]


class Record(NamedTuple):
    """What the catalogue says of a method and nothing else of its class does; see `bss methods`."""

    paper: str = "-"
    """Short name, place and year."""
    families: tuple[Family, ...] = ()
    """What it changes: gradients and weights, losses, layers, what is shown of the data, who trains when, the fusion;
    a baseline is what the others are held against."""
    extra: str = "-"
    """What a step costs beyond that of joint, which is one forward and one backward pass of everything."""
    reported: Mapping[str, float] = {}
    """Data set -> the best accuracy in percent that the paper or its code reports, where one of them was read."""
    benchmark: Mapping[str, float] = {}
    """Data set -> the accuracy in percent that BalanceBenchmark (arXiv 2502.10816) reports of it."""


@dataclass(frozen=True)
class Order:
    """The samples of an epoch, in the order of training, and the modalities that are hidden of them."""

    indices: np.ndarray
    """(n,), int64, of the training split."""
    hidden: Mapping[str, np.ndarray] = field(default_factory=dict)
    """Modality -> (n,), bool, whether it is kept from the model: its features and logits are zero there."""
    cuts: Sequence[int] = ()
    """Places in `indices`, rising, where one batch ends and the next begins, whatever their sizes."""


class Method(Component):
    """A way to take a step, from the losses to new weights. A method overrides the smallest hook that does.

    A method holds its settings alone. It learns in modules that `prepare` gives to the model, and keeps anything else
    in `Trainer.memory`. Both are part of every checkpoint, so a method saves nothing itself.
    """

    record: ClassVar[Record] = Record()
    """What the catalogue says of it; a class that declares none is said nothing of."""
    from_warmup: ClassVar[bool] = True
    """Whether training goes on from the warm-up's weights, or starts anew with the warm-up's epochs added."""
    grid: ClassVar[Mapping[str, tuple[object, ...]]] = {}
    """Field -> the values that a fair comparison chooses from on validation; every combination is tried."""
    strategies: ClassVar[tuple[str, ...]] = ("ddp", "fsdp")
    """Values of `spread.strategy` under which several processes can share its training."""
    looks_at_validation: ClassVar[bool] = False
    """Whether training depends on the evidence of the validation split; its page says for what."""

    @property
    def goes_on(self) -> bool:
        """Whether this training goes on from the warm-up's weights; `from_warmup`, unless a setting changes it."""
        return self.from_warmup

    @property
    def can_share(self) -> tuple[str, ...]:
        """Values of `spread.strategy` for this training; `strategies`, unless a setting changes it, or none."""
        return self.strategies

    @property
    def least_epochs(self) -> int:
        """Epochs after which every part has trained that is to be trained; a shorter training is refused."""
        return 1

    def check_shapes(self, shapes: Mapping[str, tuple[int, ...]], words: Collection[str] = ()) -> None:
        """Refuse data that the method cannot be used with; asked when the parameters are read.

        Args:
            shapes: modality -> shape of one sample.
            words: the modalities whose values are ids of words, and no quantities.

        Raises:
            InputError: it cannot; the message says what would be right.
        """

    def prepare(self, model: "MultimodalModel") -> None:
        """Give the model the heads or the fusion that the method needs, before training and before evaluation.

        Initial weights are drawn from torch's global generator, which is seeded for it.
        """

    def export(self, model: "MultimodalModel") -> None:
        """Take out of a trained model, in place, what only training needs; `register` hands on what is left."""

    def prepare_exported(self, model: "MultimodalModel") -> None:
        """As `prepare`, of a model that takes the weights that `export` has left."""
        self.prepare(model)

    def trains(self, modalities: Sequence[str], epoch: int) -> Sequence[str]:
        """The modalities whose encoders an epoch trains; all, unless the method takes them in turns."""
        return modalities

    def begin_epoch(
        self,
        trainer: "Trainer",
        epoch: int,
        evidence: "Callable[[], Evidence]",
        validation: "Callable[[], Evidence]",
    ) -> None:
        """Change model or memory between two epochs, and before the first.

        Args:
            trainer: whose model and memory may change.
            epoch: the one that begins, from 0.
            evidence: of every training pair, by a clean pass of the model as it is; asked for twice it is taken once.
            validation: the same of every validation pair, for methods that declare `looks_at_validation`.
        """

    def is_over(self, memory: "Mapping[str, Tensor]") -> bool:
        """Whether nothing is left to train, so that the training ends before its epochs do.

        The epoch whose `begin_epoch` has come to that is the last one: it has no step, and what the hook has left of
        the model is judged as after any epoch.

        Args:
            memory: `Trainer.memory`.
        """
        return False

    def order(self, sequence: np.ndarray, memory: "Mapping[str, Tensor]") -> Order:
        """The samples of the epoch, from those that the scheduler drew; a function of its arguments alone.

        Args:
            sequence: indices of the training split, (n,).
            memory: `Trainer.memory`.
        """
        return Order(sequence)

    def step(self, trainer: "Trainer", batch: "Batch") -> "tuple[Outputs, Tensor]":
        """Update the weights with a batch; the outputs before the update, and the loss that was minimised."""
        outputs = trainer.forward(batch.inputs)
        return self.descend(trainer, batch, outputs, self.loss(outputs.logits, batch.labels))

    def descend(
        self, trainer: "Trainer", batch: "Batch", outputs: "Outputs", loss: "Tensor"
    ) -> "tuple[Outputs, Tensor]":
        """The end of a step: gradients of the loss, `on_gradients`, one update.

        A loss of features, of the epoch or of single samples is computed in a `step` that ends with this. Features
        are in `outputs` (this rank's rows; `trainer.whole` has all), the epoch is `trainer.epoch`, the samples are
        `batch.indices`.
        """
        trainer.backward(loss)
        self.on_gradients(trainer, outputs, batch)
        trainer.update()
        return outputs, loss

    def loss(self, logits: "Mapping[str, Tensor]", labels: "Tensor") -> "Tensor":
        """The scalar that a step minimises.

        Args:
            logits: output name -> (B, C).
            labels: (B,), int64.
        """
        raise NotImplementedError(f"{self.name} has neither a loss nor a step of its own")

    def on_gradients(self, trainer: "Trainer", outputs: "Outputs", batch: "Batch") -> None:
        """Change the gradients before the weights are updated."""

    def decide(self, probabilities: Mapping[str, np.ndarray], logits: Mapping[str, np.ndarray]) -> np.ndarray | None:
        """The method's own multimodal prediction (N, C), probabilities; None where it has no other than the fusion's.

        What it needs beside its arguments is in a module or a buffer that `prepare` gives to the model.

        Args:
            probabilities: modality -> (N, C), the softmax of its logits.
            logits: modality -> (N, C), float64.
        """
        return None

    def selected(self, model: "MultimodalModel") -> "Mapping[str, nn.Module]":
        """Output name -> the part of the model that is kept at that output's best epoch on validation."""
        return {FUSED: model}

    def judged(self, outputs: Iterable[str]) -> Sequence[str]:
        """The outputs that the method trains, and evaluation therefore judges."""
        return list(outputs)


METHODS: Registry[Method] = Registry("training method", "bss.training.methods", Method)
