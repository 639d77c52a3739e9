"""The contract of a balance criterion."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import update_wrapper
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator, Field

from bss.errors import InputError
from bss.registry import Registry

if TYPE_CHECKING:
    from torch import Tensor

    from bss.measure.evidence import Evidence


@dataclass
class Criterion:
    """A pure function of the evidence, one value a sample, and the direction in which it speaks of balance."""

    function: Callable[["Evidence"], "Tensor"]
    direction: int
    """+1 where a larger value means more balanced, -1 where it means less."""
    needs_labels: bool = False
    """Whether it reads the labels, so that it says nothing of pairs without one."""

    def __post_init__(self) -> None:
        update_wrapper(self, self.function)

    def __call__(self, evidence: "Evidence") -> "Tensor":
        """The criterion of each sample, shape (N,)."""
        return self.function(evidence)


def criterion(
    *, direction: int, needs_labels: bool = False
) -> Callable[[Callable[["Evidence"], "Tensor"]], Criterion]:
    """Make a criterion of a function; for `direction` and `needs_labels` see `Criterion`."""
    return lambda function: Criterion(function, direction, needs_labels)


CRITERIA: Registry[Criterion] = Registry("balance criterion", "bss.measure.criteria", Criterion)


def distinct(names: tuple[str, ...]) -> tuple[str, ...]:
    """The names, if they are those of different criteria.

    Raises:
        InputError: there is none, an unknown one, or one twice.
    """
    if not names:
        raise InputError(f"a balance score needs at least one criterion (known: {', '.join(CRITERIA)})")
    for name in names:
        CRITERIA[name]
    if len(set(names)) < len(names):
        raise InputError(f"[{', '.join(names)}] lists one thing twice")
    return names


Criteria = Annotated[tuple[str, ...], Field(strict=False), AfterValidator(distinct)]
"""Names of different criteria, at least one."""

PUBLISHED = ("prediction_similarity", "training_loss")
"""The criteria of the published balance score."""
