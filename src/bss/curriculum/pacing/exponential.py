"""Exponential pacing: the easy data alone for long, then all of it at once."""

from math import expm1
from typing import Annotated

from pydantic import Field

from bss.curriculum.pacing.pacing import Pacing


class Exponential(Pacing):
    """start + (1 - start) (e^(rate progress) - 1) / (e^rate - 1). Source: Wu, Dyer, Neyshabur (ICLR 2021)."""

    rate: Annotated[float, Field(gt=0, le=700)] = 10.0
    """How late it rises: the larger, the later."""

    def __call__(self, progress: float) -> float:
        """The fraction in play."""
        return min(1.0, self.start + (1 - self.start) * expm1(self.rate * progress) / expm1(self.rate))
