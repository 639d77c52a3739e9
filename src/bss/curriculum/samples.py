"""What the sampler knows of the training samples: scores, criteria and numbers of draws."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import DTypeLike
from torch import Tensor, distributed

from bss.curriculum.schedulers.scheduler import Scheduler, epoch_indices
from bss.measure.numbers import real_array, whole_numbers
from bss.measure.ranks import AllRanks


class Samples(ABC):
    """Scores, criteria and numbers of draws of the samples that this rank holds.

    Args:
        rows: the indices of those samples.
        scheduler: makes the sequences, and says what becomes of fresh scores.
        scores: balance scores of those samples to start from, or None.
        labels: classes of those samples, or None.
        ranks: that share the training.
        floats: the type of scores and criteria.
        counts: the type of the numbers of draws.
        measurements: the type of the numbers of measurements, which stop at its largest.
    """

    def __init__(
        self,
        rows: range,
        scheduler: Scheduler,
        scores: np.ndarray | Tensor | None,
        labels: np.ndarray | Tensor | None,
        ranks: AllRanks,
        floats: DTypeLike,
        counts: DTypeLike,
        measurements: DTypeLike,
    ) -> None:
        self.rows, self.scheduler, self.ranks = rows, scheduler, ranks
        self.scores = np.zeros(len(rows), floats) if scores is None else checked(scores, len(rows), floats)
        self.labels = None if labels is None else checked_labels(labels, len(rows))
        self.criteria = np.full((len(scheduler.criteria), len(rows)), np.nan, floats)
        self.num_measured = np.full(len(rows), scores is not None, measurements)
        self.num_draws = np.zeros(len(rows), counts)
        self.held_out: dict[str, Tensor] | None = None

    @abstractmethod
    def sequence(self, seed: int, epoch: int) -> np.ndarray:
        """The indices of an epoch."""

    @abstractmethod
    def share(self, sequence: np.ndarray) -> np.ndarray:
        """This rank's part of a sequence; as long on every rank."""

    @abstractmethod
    def length(self, sequence: np.ndarray) -> int:
        """The length of `share`."""

    @abstractmethod
    def draws(self, sequence: np.ndarray | None) -> np.ndarray:
        """Number of draws of each sample, with those of the sequence of the epoch that is under way."""

    @abstractmethod
    def observe(self, rows: np.ndarray, values: np.ndarray) -> None:
        """Take criteria (K, B) of samples."""

    @abstractmethod
    def gather(self) -> None:
        """Exchange new criteria with the other ranks."""

    @abstractmethod
    def refresh(self) -> bool:
        """Fresh scores of all samples with criteria; whether there was any."""

    def state_dict(self) -> dict[str, Any]:
        """Tensors and plain values."""
        names = ("scores", "criteria", "num_measured", "num_draws")
        return {name: torch.from_numpy(getattr(self, name).copy()) for name in names}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state_dict` was taken.

        Raises:
            ValueError: a part is missing, or of another shape; nothing is changed then.
        """
        for name, own in Samples.state_dict(self).items():
            given, expected = getattr(state.get(name), "shape", None), tuple(own.shape)
            if given != own.shape:
                raise ValueError(f"the state's {name} has the shape {given and tuple(given)}, expected {expected}")
        self.scores, self.criteria = state["scores"].numpy().copy(), state["criteria"].numpy().copy()
        self.num_measured, self.num_draws = state["num_measured"].numpy().copy(), state["num_draws"].numpy().copy()

    def renewed(self, scores: np.ndarray, fresh: np.ndarray, num_measured: np.ndarray) -> np.ndarray:
        """The scores of samples with fresh ones; `num_measured` then counts those too.

        Args:
            scores: (N,), those of before.
            fresh: (N,).
            num_measured: (N,), is changed.
        """
        # A first score has none before it to be averaged with.
        found = np.where(num_measured > 0, self.scheduler.update(scores, fresh, num_measured), fresh)
        num_measured += num_measured < np.iinfo(num_measured.dtype).max
        return found


class AllSamples(Samples):
    """All samples, the same on every rank, float64."""

    def __init__(
        self,
        num_samples: int,
        scheduler: Scheduler,
        scores: np.ndarray | Tensor | None,
        labels: np.ndarray | Tensor | None,
        ranks: AllRanks,
    ) -> None:
        super().__init__(range(num_samples), scheduler, scores, labels, ranks, np.float64, np.int64, np.int64)
        scheduler.followed(self.scores, self.labels)  # refuses what is missing before there is an epoch
        self._is_new = np.zeros(num_samples, dtype=bool)

    def sequence(self, seed: int, epoch: int) -> np.ndarray:
        """The indices over all ranks."""
        return epoch_indices(self.scheduler, self.scores, seed, epoch, self.labels)

    def share(self, sequence: np.ndarray) -> np.ndarray:
        """Every `num_replicas`th; the first samples come again where the ranks would not get equally many."""
        if self.ranks.num_replicas > 1:
            sequence = np.resize(sequence, self.length(sequence) * self.ranks.num_replicas)
        return sequence[self.ranks.rank :: self.ranks.num_replicas]

    def length(self, sequence: np.ndarray) -> int:
        """A part of it, rounded up."""
        return -(-len(sequence) // self.ranks.num_replicas)

    def draws(self, sequence: np.ndarray | None) -> np.ndarray:
        """(N,), over all ranks."""
        return (
            self.num_draws if sequence is None else self.num_draws + np.bincount(sequence, minlength=len(self.rows))
        )

    def observe(self, rows: np.ndarray, values: np.ndarray) -> None:
        """Keep the criteria until the ranks exchange them."""
        for row, value in zip(self.criteria, values, strict=True):
            row[rows] = value
        self._is_new[rows] = True

    def gather(self) -> None:
        """Every rank receives the new criteria of all."""
        if self.ranks.num_replicas > 1:
            rows = np.flatnonzero(self._is_new)
            parts: list[Any] = [None] * self.ranks.num_replicas
            distributed.all_gather_object(parts, (rows, self.criteria[:, rows]))
            for others, values in parts:
                self.criteria[:, others] = values
        self._is_new[:] = False

    def refresh(self) -> bool:
        """Normalised over the samples with criteria; the others keep their scores."""
        seen = ~np.isnan(self.criteria[0])
        if not seen.any():
            return False
        rows = zip(self.scheduler.criteria, self.criteria, strict=True)
        values = {name: torch.from_numpy(row[seen]) for name, row in rows}
        fresh = self.scheduler.scored(values, held_out=self.held_out).numpy()
        num_measured = self.num_measured[seen]
        self.scores = self.scores.copy()
        self.scores[seen] = self.renewed(self.scores[seen], fresh, num_measured)
        self.num_measured[seen] = num_measured
        return True

    def state_dict(self) -> dict[str, Any]:
        """Those of all samples, and which criteria were not exchanged yet."""
        state = super().state_dict()
        return {
            **{name: state[name] for name in ("scores", "criteria")},
            "is_new": torch.from_numpy(self._is_new.copy()),
            **{name: state[name] for name in ("num_measured", "num_draws")},
            **({} if self.held_out is None else {"held_out": dict(self.held_out)}),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state_dict` was taken."""
        super().load_state_dict(state)
        self._is_new = state["is_new"].numpy().copy()
        self.held_out = state.get("held_out")


def checked(scores: np.ndarray | Tensor, num_samples: int, floats: DTypeLike = np.float64) -> np.ndarray:
    """Finite scores (N,), in a copy.

    Raises:
        ValueError: they are no numbers, not finite, or not (N,).
    """
    scores = real_array("scores", scores, floats)
    if scores.shape != (num_samples,):
        raise ValueError(f"scores have the shape {scores.shape}, expected ({num_samples},)")
    if not np.isfinite(scores).all():
        index = int(np.flatnonzero(~np.isfinite(scores))[0])
        raise ValueError(f"scores are not finite, first at index {index}: {scores[index]}")
    return scores


def checked_labels(labels: np.ndarray | Tensor, num_samples: int) -> np.ndarray:
    """Labels (N,), int64.

    Raises:
        ValueError: they are no whole numbers, or not (N,).
    """
    checked = whole_numbers("labels", labels).cpu().numpy()
    if checked.shape != (num_samples,):
        raise ValueError(f"labels have the shape {checked.shape}, expected ({num_samples},)")
    return checked
