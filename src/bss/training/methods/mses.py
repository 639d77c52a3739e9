"""Modality-specific early stopping: a modality that gets worse on validation goes back to its best and rests."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from bss.training.methods.joint import Joint
from bss.training.methods.method import Record

if TYPE_CHECKING:
    from torch import Tensor

    from bss.measure.evidence import Evidence
    from bss.model import Outputs
    from bss.training.loader import Batch
    from bss.training.trainer import Trainer


class MSES(Joint):
    """The joint loss, in which each modality stops learning by itself.

    After epoch t let raw_t be modality m's mean loss on validation, by its own head, and

        level_t = smoothing raw_(t-1) + (1 - smoothing) raw_t,    level_0 = raw_0.

    Where the lowest level is more than `patience` epochs ago, encoder and head of m go back to where they were then,
    and rest: they have no gradient, and are in eval mode. The fusion learns until all modalities rest, which ends the
    training.

    Source: MSES (ACPR 2019), of which the abstract could be read; the rule is that of AGM's code. Its `released` form
    takes the whole model and the optimizer back; that `published` takes back what stops alone is INFERRED.
    """

    record: ClassVar[Record] = Record(
        paper="MSES, ACPR 2019", families=("schedule",), extra="none; a pass of validation an epoch"
    )
    strategies: ClassVar[tuple[str, ...]] = ("ddp",)
    looks_at_validation: ClassVar[bool] = True
    weights_of_heads: ClassVar[tuple[str, ...]] = ("unimodal_weight",)
    grid: ClassVar[Mapping[str, tuple[object, ...]]] = {"patience": (1, 2, 4)}
    example: ClassVar[Mapping[str, Any]] = {"patience": 0}
    variant: Literal["published", "released"] = "published"
    patience: Annotated[int, Field(ge=0)] = 2
    """Epochs without a lower level after which one more stops a modality."""
    smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.6
    """Share of the loss of the epoch before in a level."""

    def begin_epoch(
        self,
        trainer: "Trainer",
        epoch: int,
        evidence: "Callable[[], Evidence]",
        validation: "Callable[[], Evidence]",
    ) -> None:
        """Keep what is best of each modality, and stop those that got worse.

        `memory` has "losses" (epochs, M), "stopped" (M,), and the weights that are kept for each by their names.
        """
        import torch

        from bss.training.methods._measured import mean_losses

        if epoch == 0:
            return
        names, memory = list(trainer.model.branches), trainer.memory
        now = trainer.runtime.agreed(mean_losses(validation(), names)).to(trainer.runtime.device)[None]
        memory["losses"] = torch.cat([memory["losses"], now]) if "losses" in memory else now
        stopped = memory.get("stopped", torch.zeros_like(now[0], dtype=torch.bool)).clone()
        levels = smoothed(memory["losses"], self.smoothing).cpu()
        since = {
            name: len(levels) - 1 - int(levels[:, place].argmin())
            for place, name in enumerate(names)
            if not (stopped[place] or levels[:, place].isnan().any())
        }
        # All are kept first: `released` takes the whole model back.
        for name in (name for name, epochs in since.items() if epochs == 0):
            self._keep(trainer, name)
        for name in (name for name, epochs in since.items() if epochs > self.patience):
            self._take_back(trainer, name)
            stopped[names.index(name)] = True
        memory["stopped"] = stopped

    def is_over(self, memory: "Mapping[str, Tensor]") -> bool:
        """Whether all modalities rest."""
        return "stopped" in memory and bool(memory["stopped"].all())

    def step(self, trainer: "Trainer", batch: "Batch") -> "tuple[Outputs, Tensor]":
        """Joint's step, with what rests in eval mode."""
        for name in self._resting(trainer):
            trainer.model.branch(name).eval()
        return super().step(trainer, batch)

    def on_gradients(self, trainer: "Trainer", outputs: "Outputs", batch: "Batch") -> None:
        """Drop those of the modalities that rest."""
        for name in self._resting(trainer):
            for weight in trainer.model.branch(name).parameters():
                weight.grad = None

    def _resting(self, trainer: "Trainer") -> list[str]:
        stopped = trainer.memory.get("stopped")
        return (
            []
            if stopped is None
            else [name for name, rests in zip(trainer.model.branches, stopped, strict=True) if rests]
        )

    def _keep(self, trainer: "Trainer", name: str) -> None:
        """Put what goes back with a modality into the memory."""
        from bss.training import weights

        prefix = "" if self.variant == "released" else f"branches.{name}."
        kept = {key: values for key, values in weights.take(trainer.model).items() if key.startswith(prefix)}
        for key, values in kept.items():
            trainer.memory[f"best of {name}: {key}"] = values.to(trainer.runtime.device)
        if self.variant == "released":
            for number, of_one in weights.take_optimizer(trainer.optimizer)["state"].items():
                for key, values in of_one.items():
                    trainer.memory[f"optimizer of {name}: {number} {key}"] = values.clone()

    def _take_back(self, trainer: "Trainer", name: str) -> None:
        """Put it back, out of the memory."""
        from bss.training import weights

        weights.give(trainer.model, _popped(trainer.memory, f"best of {name}: "))
        states: dict[int, dict[str, Tensor]] = {}
        for key, values in _popped(trainer.memory, f"optimizer of {name}: ").items():
            number, part = key.split()
            states.setdefault(int(number), {})[part] = values
        if states:
            weights.give_optimizer(trainer.optimizer, {**trainer.optimizer.state_dict(), "state": states})


def smoothed(losses: "Tensor", smoothing: float) -> "Tensor":
    """Levels (epochs, M): each loss mixed with the one before, which is not smoothed itself.

    Args:
        losses: (epochs, M).
        smoothing: share of the one before.
    """
    import torch

    return torch.cat([losses[:1], smoothing * losses[:-1] + (1 - smoothing) * losses[1:]])


def _popped(memory: "dict[str, Tensor]", prefix: str) -> "dict[str, Tensor]":
    return {key.removeprefix(prefix): memory.pop(key) for key in list(memory) if key.startswith(prefix)}
