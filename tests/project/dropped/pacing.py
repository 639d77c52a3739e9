"""Slow at first."""

from bss.curriculum.pacing.pacing import Pacing


class Dropped(Pacing):
    """start + (1 - start) progress^2."""

    def __call__(self, progress: float) -> float:
        """The fraction in play."""
        return min(1.0, self.start + (1 - self.start) * progress**2)
