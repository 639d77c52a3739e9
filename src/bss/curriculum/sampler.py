"""The sampler: what training asks for the samples of an epoch, and hands its evidence to."""

from collections.abc import Callable
from typing import Generic, TypeVar

import numpy as np

from bss.curriculum.schedulers.scheduler import Scheduler
from bss.seeds import generator

EvidenceT = TypeVar("EvidenceT")


class CurriculumSampler(Generic[EvidenceT]):
    """A scheduler with the scores so far: the indices of each epoch, and how often each sample was drawn.

    Args:
        scheduler: what makes the sequence.
        scores: balance score of each training sample, (N,), larger is more balanced.
        seed: the indices of an epoch are a function of (scores, scheduler, seed, epoch) alone.
        score: evidence of all N samples -> fresh scores (N,); needed by a scheduler that refreshes.
        recorded: the indices of an epoch, where they were laid out beforehand.

    Raises:
        ValueError: no sample, or scores that are not finite.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        scores: np.ndarray,
        seed: int,
        score: Callable[[EvidenceT], np.ndarray] | None = None,
        recorded: Callable[[int], np.ndarray] | None = None,
    ) -> None:
        self.scheduler, self.seed = scheduler, seed
        self.scores = _checked(scores)
        self.num_draws = np.zeros(len(scores), dtype=np.int64)
        self._score, self._recorded = score, recorded

    def wants_evidence(self, epoch: int) -> bool:
        """Whether `observe` is to be called before the indices of this epoch are asked for."""
        return self.scheduler.refreshes(epoch)

    def observe(self, evidence: EvidenceT) -> None:
        """Take evidence of all N samples, in the order of their indices."""
        if self._score is None:
            raise ValueError(f"the scheduler '{self.scheduler.name}' needs fresh scores, and `score` was not given")
        fresh = _checked(self._score(evidence))
        if fresh.shape != self.scores.shape:
            raise ValueError(f"fresh scores have the shape {fresh.shape}, expected {self.scores.shape}")
        self.scores = self.scheduler.update(self.scores, fresh)

    def indices(self, epoch: int) -> np.ndarray:
        """The indices of an epoch in the order of training, int64; counted as drawn."""
        if self._recorded is not None:
            indices = self._recorded(epoch)
        else:
            indices = epoch_indices(self.scheduler, self.scores, self.seed, epoch)
        self.num_draws += np.bincount(indices, minlength=len(self.scores))
        return indices


def epoch_indices(scheduler: Scheduler, scores: np.ndarray, seed: int, epoch: int) -> np.ndarray:
    """The indices of one epoch, int64, from that epoch's own generator."""
    return scheduler.indices(scores, epoch, generator(seed, "curriculum", epoch))


def _checked(scores: np.ndarray) -> np.ndarray:
    if scores.ndim != 1 or not len(scores):
        raise ValueError(f"scores have the shape {scores.shape}, expected (N,) with N at least 1")
    if not np.isfinite(scores).all():
        index = int(np.flatnonzero(~np.isfinite(scores))[0])
        raise ValueError(f"scores are not finite, first at index {index}: {scores[index]}")
    return scores
