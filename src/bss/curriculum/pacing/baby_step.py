"""Baby steps: one more bucket of data at a time."""

from math import floor
from typing import Annotated

from pydantic import Field

from bss.curriculum.pacing.pacing import Pacing


class BabyStep(Pacing):
    """start, then `num_steps` equal parts of the rest, each let in at once. Source: Bengio et al. (ICML 2009)."""

    num_steps: Annotated[int, Field(ge=1)] = 5
    """Parts that the rest is let in by."""

    def __call__(self, progress: float) -> float:
        """The fraction in play."""
        return min(1.0, self.start + (1 - self.start) * floor(progress * self.num_steps + 1e-9) / self.num_steps)
