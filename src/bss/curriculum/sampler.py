"""The sampler: it gives training the samples of an epoch, and takes the outputs of the model."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, distributed
from torch.utils.data import Sampler

from bss.curriculum.schedulers.scheduler import Scheduler, epoch_indices
from bss.measure.criteria.criterion import CRITERIA
from bss.measure.evidence import Evidence
from bss.measure.score import combined

VERSION = 2


class CurriculumSampler(Sampler[int]):
    """A sampler that a scheduler steers: iterate it (or a DataLoader on it) once an epoch, then call `end_epoch`.

    The sequence of an epoch is a function of (scores, scheduler, seed, epoch) alone, whatever the number of workers.
    On several ranks each takes its share of one sequence: a global step sees the samples that one rank with as many
    times the batch size would see.

    Args:
        num_samples: N, the length of the training set.
        scheduler: makes the sequence of each epoch.
        seed: of the draws.
        scores: balance scores (N,) to start from, larger is more balanced; all alike where left out.
        recorded: epoch -> indices, where the sequences were laid out beforehand.
        rank: number of this process among those that share a training, in [0, num_replicas).
        num_replicas: number of those processes.

    Raises:
        ValueError: no sample, scores that are not (N,) or not finite, a rank out of range.
    """

    def __init__(
        self,
        num_samples: int,
        scheduler: Scheduler,
        seed: int = 0,
        *,
        scores: np.ndarray | Tensor | None = None,
        recorded: Callable[[int], np.ndarray] | None = None,
        rank: int = 0,
        num_replicas: int = 1,
    ) -> None:
        if num_samples < 1:
            raise ValueError(f"num_samples is {num_samples}, expected at least 1")
        if not 0 <= rank < num_replicas:
            raise ValueError(f"rank is {rank}, expected one in [0, {num_replicas})")
        self.num_samples, self.scheduler, self.seed = num_samples, scheduler, seed
        self.rank, self.num_replicas = rank, num_replicas
        self.epoch = 0
        self.scores = np.zeros(num_samples) if scores is None else _checked(scores, num_samples)
        self._is_scored = np.full(num_samples, scores is not None)
        self._num_draws = np.zeros(num_samples, dtype=np.int64)
        self._recorded = recorded
        self._position = 0
        self._criteria = np.full((len(scheduler.criteria), num_samples), np.nan)
        self._is_new = np.zeros(num_samples, dtype=bool)
        self._sequence: np.ndarray | None = None

    @property
    def wants_pass(self) -> bool:
        """Whether all samples are to be observed in a clean pass before `end_epoch`."""
        return self.scheduler.wants_pass(self.epoch + 1)

    @property
    def wants_batches(self) -> bool:
        """Whether the samples are to be observed as they are trained on."""
        return self.scheduler.wants_batches

    def sequence(self) -> np.ndarray:
        """The indices of the current epoch in the order of training, over all ranks, int64."""
        if self._sequence is None:
            self._sequence = (
                epoch_indices(self.scheduler, self.scores, self.seed, self.epoch)
                if self._recorded is None
                else self._recorded(self.epoch)
            )
        return self._sequence

    @property
    def num_draws(self) -> np.ndarray:
        """Number of draws of each sample, (N,), int64, over all ranks; an epoch begun counts as a whole."""
        if self._sequence is None:
            return self._num_draws
        return self._num_draws + np.bincount(self._sequence, minlength=self.num_samples)

    def __iter__(self) -> Iterator[int]:
        """This rank's indices of the current epoch, from where `advance` has come to."""
        yield from self._share()[self._position :].tolist()

    def __len__(self) -> int:
        """This rank's number of indices in the current epoch."""
        return math.ceil(len(self.sequence()) / self.num_replicas)

    def advance(self, num_samples: int) -> None:
        """Count samples that this rank has trained on, so that a state saved now resumes behind them.

        The consumer counts, because a DataLoader with workers has drawn further than training has come.

        Raises:
            ValueError: more than the epoch has.
        """
        if not 0 <= num_samples <= len(self) - self._position:
            raise ValueError(f"{num_samples} samples after {self._position} leave the {len(self)} of this epoch")
        self._position += num_samples

    def observe(
        self,
        indices: Sequence[int] | np.ndarray | Tensor,
        logits: Mapping[str, Tensor],
        labels: Tensor,
        features: Mapping[str, Tensor] | None = None,
    ) -> None:
        """Take the outputs of the model for some samples; the last ones for a sample count.

        Args:
            indices: (B,) of the training set.
            logits: of every modality and "fused", (B, C) each.
            labels: (B,), int64.
            features: of every modality, (B, dim) each; needed by the criteria that say so.

        Raises:
            ValueError: the arguments do not fit together, see `Evidence`, or an index is out of range; nothing is
                taken then.
        """
        rows = np.asarray(indices, dtype=np.int64)
        if rows.shape != (len(labels),) or (len(rows) and not 0 <= rows.min() <= rows.max() < self.num_samples):
            raise ValueError(f"indices are {rows}, expected {len(labels)} in [0, {self.num_samples})")
        with torch.no_grad():
            evidence = Evidence({name: values.float() for name, values in logits.items()}, labels, features)
            values = [CRITERIA[name](evidence).double().cpu().numpy() for name in self.scheduler.criteria]
        for row, value in zip(self._criteria, values, strict=True):
            row[rows] = value
        self._is_new[rows] = True

    def end_epoch(self) -> None:
        """Close the epoch: fresh scores from what all ranks observed, where the scheduler wants them; next epoch.

        A sample that was not observed keeps its last criteria, and its score where it has none.

        Raises:
            ValueError: fresh scores are wanted, and nothing was ever observed.
        """
        self._num_draws = self.num_draws
        if self.scheduler.refreshes(self.epoch + 1):
            self._gather()
            seen = ~np.isnan(self._criteria[0])
            if not seen.any():
                raise ValueError(
                    f"the scheduler '{self.scheduler.name}' wants fresh scores after epoch {self.epoch}, "
                    "and nothing was observed; call `observe` with the model's logits before `end_epoch`"
                )
            fresh = self.scores.copy()
            rows = zip(self.scheduler.criteria, self._criteria, strict=True)
            fresh[seen] = combined({name: torch.from_numpy(row[seen]) for name, row in rows}).numpy()
            # A first score has none before it to be averaged with.
            self.scores = np.where(self._is_scored, self.scheduler.update(self.scores, fresh), fresh)
            self._is_scored |= seen
        self.epoch += 1
        self._position = 0
        self._sequence = None

    def state_dict(self) -> dict[str, Any]:
        """The state from which a resumed run goes on, in tensors and plain values."""
        return {
            "version": VERSION,
            "plan": self._plan(),
            "epoch": self.epoch,
            "position": self._position,
            "is_begun": self._sequence is not None,
            "scores": torch.from_numpy(self.scores.copy()),
            "criteria": torch.from_numpy(self._criteria.copy()),
            "is_new": torch.from_numpy(self._is_new.copy()),
            "is_scored": torch.from_numpy(self._is_scored.copy()),
            "num_draws": torch.from_numpy(self._num_draws.copy()),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state_dict` was taken.

        Raises:
            ValueError: the state is of another version or plan; nothing is changed then.
        """
        if state.get("version") != VERSION:
            raise ValueError(f"the state has version {state.get('version')}, expected {VERSION}")
        for name, value in self._plan().items():
            if state["plan"].get(name) != value:
                raise ValueError(
                    f"the state is of another plan: its {name} is {state['plan'].get(name)}, not {value}"
                )
        self.epoch, self._position = state["epoch"], state["position"]
        self.scores, self._criteria = state["scores"].numpy().copy(), state["criteria"].numpy().copy()
        self._is_new, self._is_scored = state["is_new"].numpy().copy(), state["is_scored"].numpy().copy()
        self._num_draws = state["num_draws"].numpy().copy()
        self._sequence = None
        if state["is_begun"]:
            self.sequence()

    def _plan(self) -> dict[str, Any]:
        return {
            "num_samples": self.num_samples,
            "scheduler": f"{self.scheduler.name} {self.scheduler}",
            "seed": self.seed,
            "is_recorded": self._recorded is not None,
            "num_replicas": self.num_replicas,
        }

    def _share(self) -> np.ndarray:
        """This rank's part; the first samples come again where the ranks would not get equally many."""
        sequence = self.sequence()
        if self.num_replicas > 1:
            sequence = np.resize(sequence, len(self) * self.num_replicas)
        return sequence[self.rank :: self.num_replicas]

    def _gather(self) -> None:
        """Exchange new criteria with the other ranks."""
        if self.num_replicas > 1:
            rows = np.flatnonzero(self._is_new)
            parts: list[Any] = [None] * self.num_replicas
            distributed.all_gather_object(parts, (rows, self._criteria[:, rows]))
            for others, values in parts:
                self._criteria[:, others] = values
        self._is_new[:] = False


def _checked(scores: np.ndarray | Tensor, num_samples: int) -> np.ndarray:
    scores = np.array(scores, dtype=np.float64)
    if scores.shape != (num_samples,):
        raise ValueError(f"scores have the shape {scores.shape}, expected ({num_samples},)")
    if not np.isfinite(scores).all():
        index = int(np.flatnonzero(~np.isfinite(scores))[0])
        raise ValueError(f"scores are not finite, first at index {index}: {scores[index]}")
    return scores
