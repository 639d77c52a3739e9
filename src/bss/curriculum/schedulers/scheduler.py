"""The contract of a scheduler."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from bss.curriculum.order import within_class
from bss.curriculum.shares import Shares
from bss.measure.criteria.criterion import PUBLISHED, Criteria
from bss.registry import Component, Registry
from bss.seeds import generator

if TYPE_CHECKING:
    from torch import Tensor

    from bss.measure.score import Extents


class Scheduler(Component):
    """Scores and epoch -> the indices of that epoch; a pure function, all chance comes from the generator given."""

    held_out: ClassVar[bool] = False
    """Whether it compares the training samples with held-out ones, which training then has looked at."""
    anti: bool = False
    """Reverse the curriculum: imbalanced pairs first, or more often."""
    by_class: bool = False
    """Follow where each score stands within its class, so that every class keeps its share of what is drawn."""
    criteria: Criteria = PUBLISHED
    """Criteria of the balance score that it follows; where params.yaml leaves them out, `score.criteria`."""

    @abstractmethod
    def indices(self, scores: np.ndarray, epoch: int, generator: np.random.Generator) -> np.ndarray:
        """Indices of epoch 0, 1, ... in the order of training, int64; any length, repeats allowed.

        Args:
            scores: balance score of each training sample, (N,), larger is more balanced.
            epoch: epochs trained so far under this scheduler.
            generator: of this epoch alone.
        """

    def share(self, scores: np.ndarray, epoch: int, shares: Shares) -> np.ndarray:
        """This rank's draws of an epoch, integers, where each rank holds the scores of its own samples alone.

        The ranks call it together, and their draws are those of `indices` with the scores of all, as near as the
        scheduler says. A scheduler without it cannot be used with `shard="local"`.

        Args:
            scores: of this rank's own samples, (N / ranks,), float32.
            epoch: epochs trained so far under this scheduler.
            shares: numbers over all ranks, and the generators.

        Returns:
            Places among the own samples; each rank has as many as the draws fall on its share.
        """
        raise NotImplementedError(f"{self.name} does not draw from shares")

    @property
    def has_share(self) -> bool:
        """Whether it draws from scores of which each rank holds its own alone."""
        return type(self).share is not Scheduler.share and not self.by_class

    def followed(self, scores: np.ndarray, labels: np.ndarray | None) -> np.ndarray:
        """The scores that `indices` and `probabilities` are given, (N,).

        Raises:
            ValueError: `by_class`, and there are no labels, (N,).
        """
        if not self.by_class:
            return scores
        if labels is None:
            raise ValueError(f"the scheduler '{self.name}' has by_class: give labels, the class of each sample")
        return within_class(scores, labels)

    def scored(
        self,
        values: "Mapping[str, Tensor]",
        over: "Extents | None" = None,
        held_out: "Mapping[str, Tensor] | None" = None,
    ) -> "Tensor":
        """The scores (N,), float64, that it follows, from the values of its criteria: the balance score.

        Args:
            values: criterion -> (N,).
            over: the extent of each over all samples, where these are some of them.
            held_out: criterion -> (M,) of held-out samples, where the scheduler declares `held_out`.
        """
        from bss.measure.score import combined

        return combined(values, over)

    def fraction(self, epoch: int) -> float:
        """Fraction of the training samples in play in an epoch, in (0, 1]."""
        return 1.0

    def num_in_play(self, num_samples: int, epoch: int) -> int:
        """Number of training samples in play in an epoch: floor(N * fraction), at least 1."""
        return max(1, int(num_samples * self.fraction(epoch) + 1e-9))  # 100 * 0.29 is 28.999...

    def probabilities(self, scores: np.ndarray) -> np.ndarray | None:
        """The probability (N,) of each sample to be drawn; None where the order is fixed by the first scores."""
        return None

    def refreshes(self, epoch: int) -> bool:
        """Whether fresh scores are made before an epoch, from the observations until then."""
        return False

    def wants_pass(self, epoch: int) -> bool:
        """Whether all samples are to be observed in a clean pass before an epoch."""
        return False

    @property
    def wants_batches(self) -> bool:
        """Whether the samples are to be observed as they are trained on."""
        return False

    def update(self, scores: np.ndarray, fresh: np.ndarray, num_measured: np.ndarray) -> np.ndarray:
        """The scores to go on with, (N,), once fresh ones have been measured.

        Args:
            scores: (N,), float64, those of before.
            fresh: (N,), float64.
            num_measured: (N,), how many measurements went into `scores`; a sample with none takes the fresh score.
        """
        return scores


def epoch_indices(
    scheduler: Scheduler, scores: np.ndarray, seed: int, epoch: int, labels: np.ndarray | None = None
) -> np.ndarray:
    """The indices of one epoch, int64, from that epoch's own generator."""
    return scheduler.indices(scheduler.followed(scores, labels), epoch, generator(seed, "curriculum", epoch))


SCHEDULERS: Registry[Scheduler] = Registry("scheduler", "bss.curriculum.schedulers", Scheduler)
