"""Step pacing: the first part of the data, then all of it."""

from bss.curriculum.pacing.pacing import Pacing


class Step(Pacing):
    """start until the progress is complete, 1 from then on. Source: Wu, Dyer, Neyshabur (ICLR 2021)."""

    def __call__(self, progress: float) -> float:
        """The fraction in play."""
        return self.start if progress < 1 else 1.0
