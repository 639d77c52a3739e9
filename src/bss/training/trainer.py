"""Training steps: a model with its method and optimizer."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, cast

import torch
from lightning_fabric.wrappers import _FabricOptimizer
from torch import Tensor
from torch.nn.functional import cross_entropy

from bss import seeds
from bss.encoders.model import MultimodalModel, Outputs
from bss.params import Optimisation
from bss.training import weights
from bss.training.loader import Batch
from bss.training.methods.method import Method
from bss.training.optimizer import build_optimizer
from bss.training.runtime import Runtime

Observe = Callable[[Tensor, dict[str, Tensor], Tensor, dict[str, Tensor]], None]
"""Takes the indices, logits, labels and features of some samples."""

NUM_OBSERVED = 1024
"""Samples handed over at a time, at least: one by one batches cost more than their step where models are small."""


class Step(NamedTuple):
    """One step as it was computed."""

    number: int
    batch: Batch
    logits: dict[str, Tensor]
    loss: Tensor


class NotFinite(ValueError):  # noqa: N818 - it names what happened
    """A loss that is NaN or infinite.

    Attributes:
        step: that met it.
    """

    def __init__(self, step: Step) -> None:
        super().__init__(f"the loss is {step.loss.item()} at step {step.number}")
        self.step = step


class Trainer:
    """A model with its method and optimizer: what one epoch of steps needs.

    Args:
        model: on any device; it is moved.
        method: what is minimised.
        settings: of the optimizer.
        runtime: where it runs.
        seed: of what the model and the augmentation draw by chance; each step and rank has a generator of its own.
        augment: changes the inputs of a training step.
    """

    def __init__(
        self,
        model: MultimodalModel,
        method: Method,
        settings: Optimisation,
        runtime: Runtime,
        seed: int = 0,
        augment: Callable[[dict[str, Tensor]], dict[str, Tensor]] | None = None,
    ) -> None:
        runtime.prepare(model)
        self.model, self.method, self.settings, self.runtime = model, method, settings, runtime
        self.module = runtime.fabric.setup_module(model)
        self.optimizer = build_optimizer(model.parameters(), settings)
        self._stepper = cast(_FabricOptimizer, runtime.fabric.setup_optimizers(self.optimizer))
        self._seed = seeds.integer(seed, f"steps of rank {runtime.rank}") // 2
        self._augment = augment
        self.num_steps = 0
        self.num_samples = 0
        self._epoch = _Epoch()
        self._unchecked: Step | None = None

    @property
    def num_batches(self) -> int:
        """Batches of the current epoch that are done; 0 between two epochs."""
        return self._epoch.num_batches

    def train_epoch(
        self,
        epoch_batches: Iterable[Batch],
        lr: float,
        observe: Observe | None = None,
        after_step: Callable[[], None] | None = None,
    ) -> dict[str, float]:
        """One step a batch; the mean training loss of each output, as the steps met it.

        Args:
            epoch_batches: of one epoch, in order, without those that a loaded state has behind it.
            lr: of all its steps.
            observe: is given what the model said of each batch, some batches at a time.
            after_step: is called after each but the last.

        Raises:
            NotFinite: a loss is NaN or infinite.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.module.train()
        epoch = self._epoch
        for number, batch in enumerate(epoch_batches):
            if after_step and number:
                after_step()
            outputs = self._step(batch)
            epoch.add(outputs, batch, observe)
            self.num_samples += len(batch.labels)
        self.check()
        self._epoch = _Epoch()
        return epoch.end(observe)

    def check(self) -> None:
        """Look at the loss of the last step; the others were looked at before.

        Raises:
            NotFinite: it is NaN or infinite.
        """
        step, self._unchecked = self._unchecked, None
        if step is not None and not torch.isfinite(step.loss):
            raise NotFinite(step)

    def state_dict(self) -> dict[str, Any]:
        """All that a resumed run needs, also in the middle of an epoch."""
        return {
            "model": weights.take(self.model),
            "optimizer": weights.take_optimizer(self.optimizer),
            "num_steps": self.num_steps,
            "num_samples": self.num_samples,
            "epoch": self._epoch.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state_dict` was taken."""
        weights.give(self.model, state["model"])
        weights.give_optimizer(self.optimizer, state["optimizer"])
        self.num_steps, self.num_samples = state["num_steps"], state["num_samples"]
        self._epoch = _Epoch.from_state(state["epoch"], self.runtime.device)

    def _step(self, batch: Batch) -> Outputs:
        """Update the weights once; what the model said before, without gradients."""
        self.num_steps += 1
        torch.manual_seed(self._seed + self.num_steps)
        outputs = self.module(self._augment(batch.inputs) if self._augment else batch.inputs)
        num_rows = len(batch.labels)
        logits = {name: self.runtime.whole(values.float(), num_rows) for name, values in outputs.logits.items()}
        loss = self.method.loss(logits, batch.labels)
        self._stepper.zero_grad(set_to_none=True)
        self.runtime.backward(loss)
        # The loss of the step before: asking for this one's would make the device wait.
        self.check()
        self._stepper.step()
        said = {name: values.detach() for name, values in logits.items()}
        self._unchecked = Step(self.num_steps, batch, said, loss.detach())
        features = {name: self.runtime.whole(values.detach(), num_rows) for name, values in outputs.features.items()}
        return Outputs(said, features)


class _Epoch:
    """What an epoch has gathered so far."""

    def __init__(self) -> None:
        self.num_batches = 0
        self._num_samples = 0
        self._sums: dict[str, Tensor] = {}
        self._observed: list[tuple[Tensor, dict[str, Tensor], Tensor, dict[str, Tensor]]] = []

    def add(self, outputs: Outputs, batch: Batch, observe: Observe | None) -> None:
        for output, logits in outputs.logits.items():
            loss = cross_entropy(logits, batch.labels, reduction="sum")
            self._sums[output] = self._sums.get(output, torch.zeros_like(loss)) + loss
        self.num_batches += 1
        self._num_samples += len(batch.labels)
        if observe:
            self._observed.append((batch.indices, outputs.logits, batch.labels, outputs.features))
            if sum(len(labels) for _, _, labels, _ in self._observed) >= NUM_OBSERVED:
                self._hand_over(observe)

    def end(self, observe: Observe | None) -> dict[str, float]:
        if observe and self._observed:
            self._hand_over(observe)
        return {output: float(total) / self._num_samples for output, total in self._sums.items()}

    def _hand_over(self, observe: Observe) -> None:
        observe(*self._joined())
        self._observed = []

    def _joined(self) -> tuple[Tensor, dict[str, Tensor], Tensor, dict[str, Tensor]]:
        indices, logits, labels, features = zip(*self._observed, strict=True)
        return torch.cat(indices), _cat(logits), torch.cat(labels), _cat(features)

    def state_dict(self) -> dict[str, Any]:
        return {
            "num_batches": self.num_batches,
            "num_samples": self._num_samples,
            "sums": dict(self._sums),
            "observed": list(self._joined()) if self._observed else None,
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any], device: torch.device) -> "_Epoch":
        epoch = cls()
        epoch.num_batches, epoch._num_samples = state["num_batches"], state["num_samples"]
        epoch._sums = {name: values.to(device) for name, values in state["sums"].items()}
        if state["observed"] is not None:
            indices, logits, labels, features = state["observed"]
            moved = ({name: values.to(device) for name, values in group.items()} for group in (logits, features))
            epoch._observed = [(indices, next(moved), labels.to(device), next(moved))]
        return epoch


def _cat(groups: Iterable[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    parts = list(groups)
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
