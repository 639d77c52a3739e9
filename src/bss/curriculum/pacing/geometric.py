"""Geometric pacing: the data in play grows by the same factor in every epoch."""

from bss.curriculum.pacing.pacing import Pacing


class Geometric(Pacing):
    """start^(1 - progress). Source: the geometric progression of Penha & Hauff (ECIR 2020)."""

    def __call__(self, progress: float) -> float:
        """The fraction in play."""
        return float(self.start ** (1 - progress))
