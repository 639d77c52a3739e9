"""The contract of a pacing function."""

from abc import abstractmethod
from typing import Annotated

from pydantic import Field

from bss.registry import Component, Registry


class Pacing(Component):
    """Progress in [0, 1] -> fraction of the ordered data in play: monotone, in (0, 1], `start` at 0 and 1 at 1."""

    start: Annotated[float, Field(gt=0, le=1)] = 0.1
    """Fraction in play at the start (lambda0)."""

    @abstractmethod
    def __call__(self, progress: float) -> float:
        """The fraction in play."""


PACINGS: Registry[Pacing] = Registry("pacing", "bss.curriculum.pacing", Pacing)
