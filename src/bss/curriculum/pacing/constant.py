"""Constant pacing: all of the data from the first step on."""

from typing import Annotated

from pydantic import Field

from bss.curriculum.pacing.pacing import Pacing


class Constant(Pacing):
    """1, whatever the progress: the comparison that leaves the pacing out."""

    start: Annotated[float, Field(ge=1, le=1)] = 1.0

    def __call__(self, progress: float) -> float:
        """The fraction in play."""
        return 1.0
