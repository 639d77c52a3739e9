"""Training steps: a model with its method and optimizer."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any, NamedTuple, cast

import torch
from lightning_fabric.wrappers import _FabricOptimizer
from torch import Tensor, nn

from bss import seeds
from bss.errors import InputError
from bss.model import MultimodalModel, Outputs, seeded
from bss.training import weights
from bss.training.epoch import Epoch, Observe
from bss.training.loader import Batch
from bss.training.methods.method import Method
from bss.training.optimizer import build_optimizer
from bss.training.runtime import Runtime
from bss.training.settings import Optimisation


class Step(NamedTuple):
    """One step as it was computed."""

    number: int
    batch: Batch
    logits: dict[str, Tensor]
    loss: Tensor


class NotFinite(ValueError):
    """A loss that is NaN or infinite.

    Attributes:
        step: that met it.
    """

    def __init__(self, step: Step) -> None:
        super().__init__(f"the loss is {step.loss.item()} at step {step.number}")
        self.step = step


class Trainer:
    """A model with its method and optimizer: what one epoch of steps needs.

    Attributes:
        memory: what the method remembers from step to step, by a name of its own.
        epoch: number of epochs that are done.

    Args:
        model: on any device; it is moved.
        method: what is minimised.
        settings: of the optimizer.
        runtime: where it runs.
        seed: of what the model and the augmentation draw by chance; each step and rank has a generator of its own.
        augment: changes the inputs of a training step.
        num_steps: of the warm-up that the weights come from.
        num_samples: that it has seen.
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
    ) -> None:
        with seeded(seed, f"weights of {method.name}"):
            method.prepare(model)
        runtime.prepare(model)
        self.model, self.method, self.settings, self.runtime = model, method, settings, runtime
        self.module = runtime.fabric.setup_module(model)
        self.optimizer = build_optimizer([weight for weight in model.parameters() if weight.requires_grad], settings)
        self._stepper = cast(_FabricOptimizer, runtime.fabric.setup_optimizers(self.optimizer))
        self._seed = seeds.integer(seed, f"steps of rank {runtime.rank}") // 2
        self._augment = augment
        self._num_rows = 0
        self.seed = seed
        self.memory: dict[str, Tensor] = {}
        self.epoch = 0
        self.num_steps, self.num_samples = num_steps, num_samples
        self._epoch = Epoch()
        self._length = 1
        self._unchecked: Step | None = None

    @property
    def num_batches(self) -> int:
        """Batches of the current epoch that are done; 0 between two epochs."""
        return self._epoch.num_batches

    @property
    def progress(self) -> float:
        """The part of the current epoch that is done, in [0, 1]."""
        return self._epoch.num_batches / self._length

    def forward(self, inputs: Mapping[str, Tensor], *, apart: bool = False) -> Outputs:
        """What the model says: logits of the whole batch in float32, features of this rank's rows.

        Args:
            inputs: of this rank's rows; of all modalities or of some.
            apart: for `gradients`; without it, for `backward`.
        """
        with self.runtime.unsynchronised(self.module) if apart else nullcontext():
            outputs: Outputs = self.module(inputs)
        logits = {name: self.whole(values.float()) for name, values in outputs.logits.items()}
        return Outputs(logits, outputs.features)

    def whole(self, values: Tensor) -> Tensor:
        """The rows of all ranks in the order of the batch, see `Runtime.whole`."""
        return self.runtime.whole(values, self._num_rows)

    def fuse(self, features: Mapping[str, Tensor]) -> Tensor:
        """What the fusion says of features of this rank's rows: logits of the whole batch.

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
        """What a method draws from in this step; alike on every rank."""
        return torch.Generator(self.runtime.device).manual_seed(seeds.integer(self.seed, purpose, self.num_steps))

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of the loss of the whole batch."""
        self.runtime.backward(loss)

    def gradients(self, loss: Tensor, parameters: Sequence[nn.Parameter]) -> list[Tensor]:
        """The gradient of one loss of several, by each parameter, zero where it does not depend on it.

        Raises:
            InputError: the weights are spread over the ranks.
        """
        if self.runtime.is_sharded:
            raise InputError(f"spread.strategy: {self.method.name} takes gradients apart, which needs ddp, not fsdp")
        before = [weight.grad for weight in parameters]
        for weight in parameters:
            weight.grad = None
        # Not torch.autograd.grad: with bfloat16 Fabric refuses every backward pass but its own.
        self.runtime.fabric.backward(loss, inputs=list(parameters), retain_graph=True)
        found = [torch.zeros_like(weight) if weight.grad is None else weight.grad for weight in parameters]
        for weight, values in zip(parameters, before, strict=True):
            weight.grad = values
        return [self.runtime.summed(values) for values in found]

    def update(self) -> None:
        """One step of the optimizer; the gradients are gone afterwards."""
        # The loss of the step before: asking for this one's would make the device wait.
        self.check()
        self._stepper.step()
        self._stepper.zero_grad(set_to_none=True)

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
            epoch_batches: of one epoch, in order, without those that a loaded state has behind it.
            lr: of all its steps.
            observe: is given what the model said of each batch, some batches at a time.
            after_step: is called after each but the last.
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
        self.check()
        self._epoch = Epoch()
        self.epoch += 1
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
        """Update the weights once; what the model said before, without gradients."""
        self.num_steps += 1
        torch.manual_seed(self._seed + self.num_steps)
        self._num_rows = len(batch.labels)
        changed = batch._replace(inputs=self._augment(batch.inputs)) if self._augment else batch
        outputs, loss = self.method.step(self, changed)
        said = {name: values.detach() for name, values in outputs.logits.items()}
        self._unchecked = Step(self.num_steps, batch, said, loss.detach())
        return Outputs(said, {name: self.whole(values.detach()) for name, values in outputs.features.items()})
