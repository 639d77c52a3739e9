"""The training loop."""

from collections.abc import Callable, Iterable
from copy import deepcopy
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from bss.data.packed import PackedSplit
from bss.encoders.model import MultimodalModel, Outputs
from bss.measure.evidence import Evidence, collect
from bss.params import Optimisation, Train
from bss.training.loader import Batch, batches
from bss.training.methods.method import Method
from bss.training.optimizer import build_optimizer, lr_factor
from bss.training.runtime import Runtime

if TYPE_CHECKING:
    from bss.curriculum.sampler import CurriculumSampler

Progress = Callable[[int, dict[str, float]], None]
"""Called after each epoch with the number of epochs done and what was measured."""

Observe = Callable[[Tensor, dict[str, Tensor], Tensor, dict[str, Tensor]], None]
"""Called after each step with the indices, logits, labels and features of its batch."""


class Trainer:
    """A model with its method and optimizer: what one epoch of steps needs."""

    def __init__(self, model: MultimodalModel, method: Method, settings: Optimisation, runtime: Runtime) -> None:
        runtime.prepare(model)
        self.model, self.method, self.settings, self.runtime = model, method, settings, runtime
        self.optimizer = build_optimizer(model.parameters(), settings)
        self.num_steps = 0
        self.num_samples = 0

    def train_epoch(
        self, epoch_batches: Iterable[Batch], lr: float, observe: Observe | None = None
    ) -> dict[str, float]:
        """One step a batch; the mean training loss of each output, as the steps met it.

        Args:
            epoch_batches: of one epoch, in order.
            lr: of all its steps.
            observe: is given what the model said of each batch.

        Raises:
            ValueError: a loss is NaN or infinite.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.model.train()
        sums: dict[str, Tensor] = {}
        num_before = self.num_samples
        for batch in epoch_batches:
            outputs = self._step(batch)
            for output, logits in outputs.logits.items():
                loss = cross_entropy(logits, batch.labels, reduction="sum")
                sums[output] = sums.get(output, torch.zeros_like(loss)) + loss
            if observe:
                observe(batch.indices, outputs.logits, batch.labels, outputs.features)
            self.num_samples += len(batch.labels)
        return {output: float(total) / (self.num_samples - num_before) for output, total in sums.items()}

    def _step(self, batch: Batch) -> Outputs:
        """Update the weights once; what the model said before, without gradients."""
        with self.runtime.autocast():
            outputs = self.model(batch.inputs)
        logits = {output: values.float() for output, values in outputs.logits.items()}
        loss = self.method.loss(logits, batch.labels)
        self.num_steps += 1
        if not torch.isfinite(loss):
            raise ValueError(f"the loss is {loss.item()} at step {self.num_steps}; lower the learning rate")
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        features = {name: values.detach() for name, values in outputs.features.items()}
        return Outputs({output: values.detach() for output, values in logits.items()}, features)


def split_evidence(model: MultimodalModel, split: PackedSplit, batch_size: int, runtime: Runtime) -> Evidence:
    """What the model says of a whole split, in the order of its indices."""
    with runtime.autocast():
        return collect(model, batches(split, np.arange(len(split)), batch_size, runtime))


class Selection:
    """The best epoch on validation, kept for each part of the model that the method selects by an output."""

    def __init__(self, parts: dict[str, nn.Module]) -> None:
        self.parts = parts
        self._best = {output: (float("-inf"), float("-inf")) for output in parts}
        self._states: dict[str, dict[str, Tensor]] = {}

    def consider(self, validation: Evidence) -> None:
        """Keep each part whose output is more accurate than before, or as accurate with a lower loss."""
        for output, part in self.parts.items():
            loss, accuracy = loss_and_accuracy(validation, output)
            if (accuracy, -loss) > self._best[output]:
                self._best[output] = (accuracy, -loss)
                self._states[output] = deepcopy(part.state_dict())

    def restore(self) -> None:
        """Put the kept weights back."""
        for output, part in self.parts.items():
            part.load_state_dict(self._states[output])


def fit(
    trainer: Trainer,
    sampler: "CurriculumSampler",
    train: PackedSplit,
    validation: PackedSplit,
    settings: Train,
    num_epochs: int,
    progress: Progress,
) -> pl.DataFrame:
    """Train with the sampler's sequences, keep the best epoch on validation or the last, and return the history.

    The history has one row an epoch and output that the method trains: losses and accuracy, steps and samples so
    far, learning rate.
    """
    model, runtime, batch_size = trainer.model, trainer.runtime, settings.batch_size
    selection = Selection(dict(trainer.method.selected(model)))
    history: list[dict[str, object]] = []
    for epoch in range(num_epochs):
        if epoch > 0:
            if sampler.wants_pass:
                found = split_evidence(model, train, batch_size, runtime)
                sampler.observe(np.arange(len(train)), found.logits, found.labels, found.features)
            sampler.end_epoch()
        lr = settings.lr * lr_factor(settings.lr_schedule, epoch / num_epochs)
        observe = sampler.observe if sampler.wants_batches else None
        losses = trainer.train_epoch(batches(train, sampler.sequence(), batch_size, runtime), lr, observe)
        evidence = split_evidence(model, validation, batch_size, runtime)
        if settings.keep == "best" or epoch == num_epochs - 1:
            selection.consider(evidence)
        judged = trainer.method.judged(evidence.logits)
        rows = [_row(epoch, output, losses[output], evidence, trainer, lr) for output in judged]
        history += rows
        progress(epoch + 1, {key: float(rows[-1][key]) for key in ("train_loss", "validation_accuracy")})  # type: ignore[arg-type]
    selection.restore()
    return pl.DataFrame(history)


def loss_and_accuracy(evidence: Evidence, output: str) -> tuple[float, float]:
    """Mean cross-entropy in nats, and accuracy in [0, 1], of one output."""
    logits = evidence.logits[output]
    hits = logits.argmax(dim=1) == evidence.labels
    return float(cross_entropy(logits, evidence.labels)), float(hits.double().mean())


def _row(
    epoch: int, output: str, train_loss: float, evidence: Evidence, trainer: Trainer, lr: float
) -> dict[str, object]:
    loss, accuracy = loss_and_accuracy(evidence, output)
    return {
        "epoch": epoch,
        "output": output,
        "train_loss": train_loss,
        "validation_loss": loss,
        "validation_accuracy": accuracy,
        "num_steps": trainer.num_steps,
        "num_samples": trainer.num_samples,
        "lr": lr,
    }
