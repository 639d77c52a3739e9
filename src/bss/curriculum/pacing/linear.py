"""Linear pacing: the same number of new pairs in every epoch."""

from bss.curriculum.pacing.pacing import Pacing


class Linear(Pacing):
    """start + (1 - start) progress."""

    def __call__(self, progress: float) -> float:
        """The fraction in play."""
        return min(1.0, self.start + (1 - self.start) * progress)
