"""The contract of a warm-up objective."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from bss.registry import Registry
from bss.training.methods.joint import Joint

if TYPE_CHECKING:
    from bss.model import MultimodalModel


class Objective(Joint):
    """A training method of the warm-up, which leaves the modules of the model as they were.

    Of a method's hooks the warm-up asks `check_shapes`, `strategies`, `prepare`, `step` and what a step calls. Loss
    and fields of joint are of what trains classifiers and fusion: the objective itself, or the probing after it.
    """

    grid: ClassVar[Mapping[str, tuple[object, ...]]] = {}

    @property
    def trains_heads(self) -> bool:
        """Whether classifiers and fusion learn by it; else `warmup.probe_epochs` train them on what it has made."""
        return True

    def finish(self, model: "MultimodalModel") -> None:
        """Take out what `prepare` put into the model, after the last step of the objective; asked on every rank."""


OBJECTIVES: Registry[Objective] = Registry("warm-up objective", "bss.training.objectives", Objective)
