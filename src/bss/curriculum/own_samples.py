"""The samples of one rank where no rank holds all: what is known of them, and draws that are those of all ranks."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bss.curriculum.samples import Samples
from bss.curriculum.schedulers.scheduler import Scheduler
from bss.curriculum.shares import Shares, blocks, dealt
from bss.measure.ranks import AllRanks
from bss.measure.score import NONE
from bss.seeds import generator


class OwnSamples(Samples):
    """This rank's own samples, float32.

    Sample i is of rank i modulo the number of ranks, so that shares of data that lie by class, or by source, are
    alike. With the two published criteria it takes 17 bytes a sample, and 4 for the sequence.

    Raises:
        ValueError: a rank would have no sample, the scheduler does not draw from shares, or the ranks are not those
            of torch.distributed.
    """

    def __init__(
        self,
        num_samples: int,
        scheduler: Scheduler,
        scores: np.ndarray | Tensor | None,
        labels: np.ndarray | Tensor | None,  # of no use where no rank holds all scores
        ranks: AllRanks,
    ) -> None:
        if num_samples < ranks.num_replicas:
            raise ValueError(f"num_samples is {num_samples}, expected one for each of {ranks.num_replicas} ranks")
        if not scheduler.has_share:
            why = "has by_class" if scheduler.by_class else "has no `share`"
            raise ValueError(
                f"the scheduler '{scheduler.name}' {why}, so it needs all scores: leave shard='local' out"
            )
        ranks.check_group()
        super().__init__(ranks.rows(num_samples), scheduler, scores, None, ranks, np.float32, np.int32, np.uint8)
        self._num_samples = num_samples
        self._num_counted = 0
        self._others = self._nothing()

    def sequence(self, seed: int, epoch: int) -> np.ndarray:
        """This rank's indices: drawn among its own samples, or handed over by a rank that has more draws than others.

        The draws are counted here, by the rank whose samples they are: later they lie on two ranks.
        """
        own = generator(seed, f"curriculum of rank {self.ranks.rank}", epoch)
        shares = Shares(self.ranks, self._num_samples, generator(seed, "curriculum", epoch), own)
        drawn = self.scheduler.share(self.scores, epoch, shares)
        if epoch >= self._num_counted:  # a resumed epoch is drawn anew, and was counted
            np.add.at(self.num_draws, drawn, np.int32(1))
            self._num_counted = epoch + 1
        indices = self._indices(drawn)
        del drawn  # int64, and dealing needs its place
        return dealt(indices, self.ranks)

    def _indices(self, places: np.ndarray) -> np.ndarray:
        """Places among the own samples as indices; int32 where that reaches: an epoch takes 4 bytes a draw."""
        indices = places.astype(np.int32 if self._num_samples <= 2**31 else np.int64, copy=False)
        np.multiply(indices, self.rows.step, out=indices)
        np.add(indices, self.rows.start, out=indices)
        return indices

    def share(self, sequence: np.ndarray) -> np.ndarray:
        """All of it."""
        return sequence

    def length(self, sequence: np.ndarray) -> int:
        """That of it."""
        return len(sequence)

    def draws(self, sequence: np.ndarray | None) -> np.ndarray:
        """(N / ranks,), whichever rank trained on them."""
        return self.num_draws.copy()

    def observe(self, rows: np.ndarray, values: np.ndarray) -> None:
        """Keep the criteria; those of other ranks' samples until they are exchanged."""
        values = values.astype(np.float32)
        is_own = rows % self.rows.step == self.rows.start
        self.criteria[:, rows[is_own] // self.rows.step] = values[:, is_own]
        if not is_own.all():
            self._others.append((rows[~is_own], values[:, ~is_own]))

    def gather(self) -> None:
        """Each rank receives what others observed of its samples; it counts more than what it observed itself."""
        rows, values = self._of_others()
        picks = [np.flatnonzero(rows % self.rows.step == rank) for rank in range(self.ranks.num_replicas)]
        taken = self.ranks.exchange([rows[pick] for pick in picks]) // self.rows.step
        for row, value in zip(self.criteria, values, strict=True):
            row[taken] = self.ranks.exchange([value[pick] for pick in picks])
        self._others = self._nothing()

    def refresh(self) -> bool:
        """Normalised over the samples of all ranks with criteria, a block at a time."""
        over = {}
        for name, row in zip(self.scheduler.criteria, self.criteria, strict=True):
            low, high = np.fmin.reduce(row, initial=np.inf), np.fmax.reduce(row, initial=-np.inf)
            over[name] = self.ranks.extent(float(low), float(high))
        if NONE in over.values():
            return False
        for part in blocks(len(self.rows)):
            self._refresh(part, over)
        return True

    def _refresh(self, part: slice, over: Mapping[str, tuple[float, float]]) -> None:
        scores, criteria, num_measured = self.scores[part], self.criteria[:, part], self.num_measured[part]
        seen = ~np.isnan(criteria[0])
        named = zip(self.scheduler.criteria, criteria, strict=True)
        fresh = self.scheduler.scored({name: torch.from_numpy(row[seen]) for name, row in named}, over).numpy()
        counts = num_measured[seen]
        scores[seen] = self.renewed(scores[seen].astype(np.float64), fresh, counts)
        num_measured[seen] = counts

    def state_dict(self) -> dict[str, Any]:
        """Those of this rank's samples, and what it observed of others'."""
        rows, values = (torch.from_numpy(part) for part in self._of_others())
        others = {"num_counted": self._num_counted, "other_rows": rows, "other_criteria": values}
        return {**super().state_dict(), **others}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state_dict` was taken."""
        super().load_state_dict(state)
        self._num_counted = state["num_counted"]
        self._others = [(state["other_rows"].numpy().copy(), state["other_criteria"].numpy().copy())]

    def _of_others(self) -> tuple[np.ndarray, np.ndarray]:
        rows, values = zip(*self._others, strict=True)
        return np.concatenate(rows), np.concatenate(values, axis=1)

    def _nothing(self) -> list[tuple[np.ndarray, np.ndarray]]:
        return [(np.empty(0, np.int64), np.empty((len(self.scheduler.criteria), 0), np.float32))]
