"""Training steps: a model with its method and optimizer."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from bss import seeds
from bss.errors import InputError
from bss.model import MultimodalModel, Outputs, seeded
from bss.training import weights
from bss.training.epoch import Epoch, Observe
from bss.training.loader import Batch
from bss.training.losses import class_weighted
from bss.training.methods.method import Method
from bss.training.optimizer import build_optimizer, forget_momentum
from bss.training.runtime import Runtime
from bss.training.settings import Optimisation


class StepRecord(NamedTuple):
    """The number of a step, from 1, its batch before augmentation, its logits, and the loss that it minimised."""

    number: int
    batch: Batch
    rows: np.ndarray
    """The rows of the batch that its inputs are of: those of this rank."""
    logits: dict[str, Tensor]
    loss: Tensor


class NotFinite(ValueError):
    """A loss that is NaN or infinite.

    Attributes:
        step: the step with that loss.
    """

    def __init__(self, step: StepRecord) -> None:
        super().__init__(f"the loss is {step.loss.item()} at step {step.number}")
        self.step = step


class Trainer:
    """A model with its method and optimizer, which takes the steps of one epoch at a time.

    Attributes:
        memory: name -> tensor that the method keeps from step to step.
        epoch: number of epochs that are done.

    Args:
        model: on any device; it is moved.
        method: takes the steps.
        settings: of the optimizer.
        runtime: device and processes.
        seed: of the random draws of model and augmentation; each step and rank has a generator of its own.
        augment: changes the inputs of a training step.
        num_steps: steps of the warm-up that the weights come from.
        num_samples: samples of those steps.
        class_weights: of the cross-entropies, (C,); all alike where left out.

    Raises:
        InputError: the method cannot be shared by several processes, or not by fsdp, by which the runtime spreads the
            weights.
    """

    def __init__(
        self,
        model: MultimodalModel,
        method: Method,
        settings: Optimisation,
        runtime: Runtime,
        seed: int = 0,
        augment: Callable[[dict[str, Tensor]], dict[str, Tensor]] | None = None,
        num_steps: int = 0,
        num_samples: int = 0,
        class_weights: Tensor | None = None,
    ) -> None:
        if runtime.num_ranks > 1 and not method.can_share:
            raise InputError(f"spread.devices: {method.name}, as it is set, is trained by one process alone")
        if runtime.is_sharded and "fsdp" not in method.can_share:
            raise InputError(f"spread.strategy: {method.name} needs ddp, not fsdp")
        with seeded(seed, f"weights of {method.name}"):
            method.prepare(model)
        runtime.prepare(model)
        self.model, self.method, self.settings, self.runtime = model, method, settings, runtime
        self.module = runtime.wrapped(model)
        self.optimizer = build_optimizer([weight for weight in model.parameters() if weight.requires_grad], settings)
        self._stepper = runtime.wrapped_optimizer(self.optimizer)
        self._seed = seeds.integer(seed, f"steps of rank {runtime.rank}") // 2
        self._augment = augment
        self._weighted: Callable[[], AbstractContextManager[None]] = nullcontext
        if class_weights is not None:
            self._weighted = partial(class_weighted, class_weights.to(runtime.device))
        self._num_rows = 0
        self._inputs: dict[str, Tensor] = {}
        self.seed = seed
        self.memory: dict[str, Tensor] = {}
        self.epoch = 0
        self.num_steps, self.num_samples = num_steps, num_samples
        self._epoch = Epoch()
        self._length = 1
        self._unchecked: StepRecord | None = None

    @property
    def num_batches(self) -> int:
        """Batches of the current epoch that are done; 0 between two epochs."""
        return self._epoch.num_batches

    @property
    def progress(self) -> float:
        """The part of the current epoch that is done, in [0, 1]."""
        return self._epoch.num_batches / self._length

    def forward(self, inputs: Mapping[str, Tensor], *, apart: bool = False) -> Outputs:
        """Logits of the whole batch in float32, and features of this rank's rows.

        Args:
            inputs: modality -> values of this rank's rows; all modalities, or some.
            apart: whether `gradients` takes the gradients afterwards, or else `backward`.
        """
        with self.runtime.unsynchronised(self.module) if apart else nullcontext():
            outputs: Outputs = self.module(inputs)
        logits = {name: self.whole(values.float()) for name, values in outputs.logits.items()}
        return Outputs(logits, outputs.features)

    def whole(self, values: Tensor) -> Tensor:
        """The rows of all ranks in the order of the batch, see `Runtime.whole`."""
        return self.runtime.whole(values, self._num_rows)

    def own_rows(self, values: Tensor) -> Tensor:
        """This rank's rows of what is known of the whole batch, (B, ...)."""
        return values[self.runtime.share(np.arange(len(values)))]

    def another_view(self) -> dict[str, Tensor]:
        """The inputs of the step's batch with random changes of their own; what is not changed is the same tensor."""
        return self._augment(self._inputs) if self._augment else self._inputs

    def fuse(self, features: Mapping[str, Tensor]) -> Tensor:
        """Logits of the whole batch, from the fusion alone and features of this rank's rows.

        Args:
            features: modality -> (rows, width).

        Raises:
            InputError: the model has no fusion, or its weights are spread over the ranks.
        """
        if self.runtime.is_sharded:
            raise InputError(f"spread.strategy: {self.method.name} asks the fusion apart, which needs ddp, not fsdp")
        if self.model.fusion is None:
            raise InputError(f"the method '{self.method.name}' has no fusion of features")
        with self.runtime.autocast():
            return self.whole(self.model.fusion(features).float())

    def generator(self, purpose: str) -> torch.Generator:
        """A generator for a random draw of the method in this step; alike on every rank."""
        return torch.Generator(self.runtime.device).manual_seed(seeds.integer(self.seed, purpose, self.num_steps))

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of the loss of the whole batch."""
        self.runtime.backward(loss)

    def gradients(self, loss: Tensor, parameters: Sequence[nn.Parameter]) -> list[Tensor]:
        """The gradient of one of several losses by each parameter; zero where the loss does not depend on it.

        Raises:
            InputError: the weights are spread over the ranks.
        """
        if self.runtime.is_sharded:
            raise InputError(f"spread.strategy: {self.method.name} takes gradients apart, which needs ddp, not fsdp")
        before = [weight.grad for weight in parameters]
        for weight in parameters:
            weight.grad = None
        # Not torch.autograd.grad: with bfloat16 Fabric refuses every backward pass but its own.
        self.runtime.backward_by(loss, parameters)
        taken = [torch.zeros_like(weight) if weight.grad is None else weight.grad for weight in parameters]
        for weight, values in zip(parameters, before, strict=True):
            weight.grad = values
        return [self.runtime.summed(values) for values in taken]

    def update(self) -> None:
        """One step of the optimizer; the gradients are gone afterwards."""
        # The loss of the step before: asking for this one's would make the device wait.
        self.check_loss()
        self._stepper.step()
        self._stepper.zero_grad(set_to_none=True)

    def forget_momentum(self) -> None:
        """Have the optimizer begin anew, as one would that was just made."""
        forget_momentum(self.optimizer)

    def train_epoch(
        self,
        epoch_batches: Iterable[Batch],
        lr: float,
        observe: Observe | None = None,
        after_step: Callable[[], None] | None = None,
        length: int = 1,
    ) -> dict[str, float]:
        """One step a batch; the mean training loss of each output, as the steps met it, NaN where all was hidden.

        Args:
            epoch_batches: those of one epoch, in order, without those that a loaded state has behind it.
            lr: learning rate of all its steps.
            observe: is called with the observations of the steps, some batches at a time.
            after_step: is called after each step but the last.
            length: number of batches of the whole epoch, for methods that look at `progress`.

        Raises:
            NotFinite: a loss is NaN or infinite.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.module.train()
        epoch, self._length = self._epoch, length
        for number, batch in enumerate(epoch_batches):
            if after_step and number:
                after_step()
            outputs = self._step(batch)
            epoch.add(outputs, batch, observe)
            self.num_samples += len(batch.labels)
        self.check_loss()
        self._epoch = Epoch()
        self.epoch += 1
        return epoch.end(observe)

    def check_loss(self) -> None:
        """Check the loss of the last step; those before were checked already.

        Raises:
            NotFinite: it is NaN or infinite.
        """
        step, self._unchecked = self._unchecked, None
        if step is not None and not torch.isfinite(step.loss):
            raise NotFinite(step)

    def state_dict(self) -> dict[str, Any]:
        """The state from which a resumed run goes on, also in the middle of an epoch."""
        return {
            "model": weights.take(self.model),
            "optimizer": weights.take_optimizer(self.optimizer),
            "num_epochs": self.epoch,
            "num_steps": self.num_steps,
            "num_samples": self.num_samples,
            "memory": {name: values.cpu().clone() for name, values in self.memory.items()},
            "epoch": self._epoch.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state_dict` was taken."""
        weights.give(self.model, state["model"])
        weights.give_optimizer(self.optimizer, state["optimizer"])
        self.epoch = state["num_epochs"]
        self.num_steps, self.num_samples = state["num_steps"], state["num_samples"]
        self.memory = {name: values.to(self.runtime.device) for name, values in state["memory"].items()}
        self._epoch = Epoch.from_state(state["epoch"], self.runtime.device)

    def _step(self, batch: Batch) -> Outputs:
        """Update the weights once; the outputs before the update, without gradients."""
        self.num_steps += 1
        self.runtime.seed(self._seed + self.num_steps)
        self._num_rows, self._inputs = len(batch.labels), batch.inputs
        changed = batch._replace(inputs=self._augment(batch.inputs)) if self._augment else batch
        with self._weighted():
            outputs, loss = self.method.step(self, changed)
        logits = {name: values.detach() for name, values in outputs.logits.items()}
        rows = self.runtime.share(np.arange(self._num_rows))
        self._unchecked = StepRecord(self.num_steps, batch, rows, logits, loss.detach())
        return Outputs(logits, {name: self.whole(values.detach()) for name, values in outputs.features.items()})
