"""Root pacing: fast at first, so that every part of the data is seen about as often as it should be."""

from math import sqrt

from bss.curriculum.pacing.pacing import Pacing


class Root(Pacing):
    """sqrt((1 - start^2) progress + start^2). Source: BSS (IJCAI 2025), lambda(t)."""

    def __call__(self, progress: float) -> float:
        """The fraction in play."""
        return min(1.0, sqrt((1 - self.start**2) * progress + self.start**2))
