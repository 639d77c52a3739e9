"""A fixed order from balanced to imbalanced, let in step by step."""

from typing import Annotated, Literal

import numpy as np
from pydantic import BeforeValidator, Field

from bss.curriculum.order import is_in_play, ordered, systematic_counts
from bss.curriculum.pacing.pacing import PACINGS, Pacing
from bss.curriculum.pacing.root import Root
from bss.curriculum.schedulers.scheduler import Scheduler
from bss.curriculum.shares import Shares


class Heuristic(Scheduler):
    """The first floor(N * pacing) samples in the order of the scores, shuffled. Source: BSS (IJCAI 2025), BSS-H.

    `released` is what the authors' code does: the pacing at the epoch after, so that the first epoch has more.
    """

    variant: Literal["published", "released"] = "published"
    """`released`: the pacing of the epoch after, as the authors' code."""
    pacing: Annotated[Pacing, BeforeValidator(PACINGS.build)] = Root()
    """Progress -> fraction in play, in (0, 1]."""
    grow_epochs: Annotated[int, Field(ge=0)] = 40
    """Epochs until all samples are in play (T_grow); 0 plays all from the start."""
    epoch_length: Literal["subset", "full"] = "subset"
    """An epoch is one pass over the samples in play (published), or always N draws: the subset passed over again
    and again, so that the number of optimizer steps is that of random order."""

    min_in_play: Annotated[int, Field(ge=1)] = 32
    """Number of samples in play at least, of those there are: a batch, so that no epoch is a single sample. Where
    N * pacing is larger, as on every published data set, it changes nothing."""

    def fraction(self, epoch: int) -> float:
        """The pacing at progress epoch / grow_epochs; `released`, (epoch + 1) / grow_epochs."""
        passed = epoch + 1 if self.variant == "released" else epoch
        return self.pacing(min(1.0, passed / self.grow_epochs)) if self.grow_epochs else 1.0

    def num_in_play(self, num_samples: int, epoch: int) -> int:
        """Number of training samples in play in an epoch: floor(N * fraction), at least `min_in_play`."""
        return min(num_samples, max(self.min_in_play, super().num_in_play(num_samples, epoch)))

    def indices(self, scores: np.ndarray, epoch: int, generator: np.random.Generator) -> np.ndarray:
        """The samples in play, shuffled; with `epoch_length: full` as many shuffled passes as fill N draws."""
        num_samples = len(scores)
        subset = ordered(scores, anti=self.anti)[: self.num_in_play(num_samples, epoch)]
        return _passes(subset, num_samples if self.epoch_length == "full" else len(subset), generator)

    def share(self, scores: np.ndarray, epoch: int, shares: Shares) -> np.ndarray:
        """The own samples among those in play over all ranks, shuffled.

        With `epoch_length: full` the last pass, where it is cut short, takes from each rank its part of the subset,
        to one sample.
        """
        num_in_play = self.num_in_play(shares.num_samples, epoch)
        subset = np.flatnonzero(is_in_play(scores, num_in_play, shares.ranks, anti=self.anti))
        num_passes, num_left = divmod(shares.num_samples, num_in_play) if self.epoch_length == "full" else (1, 0)
        rest = systematic_counts(shares.ranks.each(len(subset)), num_left, shares.together)[shares.ranks.rank]
        return _passes(subset, num_passes * len(subset) + int(rest), shares.generator)


def _passes(subset: np.ndarray, num_draws: int, generator: np.random.Generator) -> np.ndarray:
    """As many shuffled passes as fill the draws."""
    passes = [generator.permutation(subset) for _ in range(-(-num_draws // max(1, len(subset))))]
    return passes[0][:num_draws] if len(passes) == 1 else np.concatenate([subset[:0], *passes])[:num_draws]
