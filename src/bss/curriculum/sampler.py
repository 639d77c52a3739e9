"""The sampler: it gives training the samples of an epoch, and takes the outputs of the model."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Sampler

from bss.curriculum.own_samples import OwnSamples
from bss.curriculum.samples import AllSamples
from bss.curriculum.schedulers.scheduler import Scheduler
from bss.curriculum.shares import blocks
from bss.measure.criteria.criterion import CRITERIA
from bss.measure.evidence import Evidence
from bss.measure.numbers import whole, whole_numbers
from bss.measure.ranks import AllRanks, Shard
from bss.measure.score import is_local

VERSION = 3


class CurriculumSampler(Sampler[int]):
    """A sampler that a scheduler steers: iterate it (or a DataLoader on it) once an epoch, then call `end_epoch`.

    The sequence of an epoch is a function of (scores, scheduler, seed, epoch) alone, whatever the number of workers.
    On several ranks each takes its share of one sequence: a global step sees the samples that one rank with as many
    times the batch size would see.

    With `shard="local"` no rank holds what is known of all samples: each has the scores, criteria and numbers of
    draws of its own, `rows`, in float32, and its state. How often each sample is drawn in an epoch follows the scores
    of all ranks, see `share` of the scheduler. All ranks take these steps together: the first look at the sequence of
    an epoch (iterating, `len`), `end_epoch`, and `load_state_dict` of a state in mid-epoch.

    Args:
        num_samples: N, the length of the training set.
        scheduler: makes the sequence of each epoch.
        seed: of the draws.
        scores: balance scores (N,) to start from, larger is more balanced; all alike where left out. With `shard`
            local those of `rows`, as `balance_score(..., shard="local")` gives them.
        labels: (N,), the class of each sample; needed by a scheduler with `by_class`.
        recorded: epoch -> indices, where the sequences were laid out beforehand.
        rank: number of this process among those that share a training, in [0, num_replicas).
        num_replicas: number of those processes.
        shard: `local`: each rank holds its own samples alone, those whose index is `rank` modulo `num_replicas`.

    Raises:
        ValueError: no sample, a number that is not whole, no scheduler, scores that are not (N,) or not finite,
            labels that are not (N,) or missing where they are needed, a rank out of range, an unknown shard. With
            `shard` local also: no process group of these ranks, a rank without a sample, a scheduler without `share`,
            recorded sequences.
    """

    def __init__(
        self,
        num_samples: int,
        scheduler: Scheduler,
        seed: int = 0,
        *,
        scores: np.ndarray | Tensor | None = None,
        labels: np.ndarray | Tensor | None = None,
        recorded: Callable[[int], np.ndarray] | None = None,
        rank: int = 0,
        num_replicas: int = 1,
        shard: Shard = None,
    ) -> None:
        num_samples, seed = whole("num_samples", num_samples, 1), whole("seed", seed, 0)
        num_replicas = whole("num_replicas", num_replicas, 1)
        rank = whole("rank", rank, 0, num_replicas)
        if not isinstance(scheduler, Scheduler):
            raise ValueError(f"scheduler is {scheduler!r}, expected one such as bss.Random()")
        if is_local(shard) and recorded is not None:
            raise ValueError("recorded sequences are of all samples: leave recorded out, or shard='local'")
        self.num_samples, self.scheduler, self.seed = num_samples, scheduler, seed
        self.rank, self.num_replicas, self.shard = rank, num_replicas, shard
        self.epoch = 0
        self._samples = (OwnSamples if is_local(shard) else AllSamples)(
            num_samples, scheduler, scores, labels, AllRanks(rank, num_replicas)
        )
        self._recorded = recorded
        self._position = 0
        self._sequence: np.ndarray | None = None

    @property
    def rows(self) -> range:
        """The indices of the samples whose scores this rank holds; those that it observes in a clean pass."""
        return self._samples.rows

    @property
    def scores(self) -> np.ndarray:
        """The balance score of each of `rows`, larger is more balanced."""
        return self._samples.scores

    @property
    def wants_pass(self) -> bool:
        """Whether all samples are to be observed in a clean pass before `end_epoch`."""
        return self.scheduler.wants_pass(self.epoch + 1)

    @property
    def wants_batches(self) -> bool:
        """Whether the samples are to be observed as they are trained on."""
        return self.scheduler.wants_batches

    @property
    def wants_held_out(self) -> bool:
        """Whether `observe_held_out` is to be called before `end_epoch`."""
        return self.scheduler.held_out and self.scheduler.refreshes(self.epoch + 1)

    def sequence(self) -> np.ndarray:
        """The indices of the current epoch in the order of training, over all ranks, int64.

        With `shard` local those of this rank, int32 up to 2^31 samples.
        """
        if self._sequence is None:
            self._sequence = (
                self._samples.sequence(self.seed, self.epoch)
                if self._recorded is None
                else self._recorded(self.epoch)
            )
        return self._sequence

    @property
    def num_draws(self) -> np.ndarray:
        """Number of draws of each of `rows` over all ranks, int64; an epoch begun counts as a whole.

        With `shard` local int32, and of this rank's samples, whichever rank trained on them.
        """
        return self._samples.draws(self._sequence)

    def __iter__(self) -> Iterator[int]:
        """This rank's indices of the current epoch, from where `advance` has come to."""
        return _Handout(self)

    def _from(self, position: int) -> Iterator[int]:
        share = self._samples.share(self.sequence())[position:]
        for part in blocks(len(share)):  # a number of a Python list takes five times its place in an array
            yield from share[part].tolist()

    def __len__(self) -> int:
        """This rank's number of indices in the current epoch."""
        return self._samples.length(self.sequence())

    def advance(self, num_samples: int) -> None:
        """Count samples that this rank has trained on, so that a state saved now resumes behind them.

        The consumer counts, because a DataLoader with workers has drawn further than training has come.

        Raises:
            ValueError: more than the epoch has.
        """
        num_samples = whole("num_samples", num_samples, 0)
        if num_samples > len(self) - self._position:
            raise ValueError(f"{num_samples} samples after {self._position} leave the {len(self)} of this epoch")
        self._position += num_samples

    def observe(
        self,
        indices: Sequence[int] | np.ndarray | Tensor,
        logits: Mapping[str, Tensor],
        labels: Tensor,
        features: Mapping[str, Tensor] | None = None,
    ) -> None:
        """Take the outputs of the model for some samples, of whichever rank; the last ones for a sample count.

        Args:
            indices: (B,) of the training set, of any integer type.
            logits: of every modality and "fused", (B, C) each.
            labels: (B,), of any integer type.
            features: of every modality, (B, dim) each; needed by the criteria that say so.

        Raises:
            ValueError: the arguments do not fit together, see `Evidence`, or an index is out of range; nothing is
                taken then.
        """
        rows = whole_numbers("indices", indices).cpu().numpy()
        with torch.no_grad():
            evidence = Evidence(logits, labels, features)
            num_labels = len(evidence.labels)
            if len(rows) != num_labels or (len(rows) and not 0 <= rows.min() <= rows.max() < self.num_samples):
                raise ValueError(f"indices are {rows}, expected {num_labels} in [0, {self.num_samples})")
            values = self._criteria(evidence)
        self._samples.observe(rows, np.stack([of_some.numpy() for of_some in values.values()]))

    def observe_held_out(
        self, logits: Mapping[str, Tensor], labels: Tensor, features: Mapping[str, Tensor] | None = None
    ) -> None:
        """Take the outputs of the model for all held-out samples, which a scheduler compares the others with.

        On several ranks each gives those of all. They count until others come.

        Args:
            logits: of every modality and "fused", (M, C) each.
            labels: (M,), of any integer type.
            features: of every modality, (M, dim) each; needed by the criteria that say so.

        Raises:
            ValueError: the arguments do not fit together, see `Evidence`.
        """
        with torch.no_grad():
            self._samples.held_out = self._criteria(Evidence(logits, labels, features))

    def _criteria(self, evidence: Evidence) -> dict[str, Tensor]:
        return {name: CRITERIA[name](evidence).double().cpu() for name in self.scheduler.criteria}

    def end_epoch(self) -> None:
        """Close the epoch: fresh scores from what all ranks observed, where the scheduler wants them; next epoch.

        A sample that was not observed keeps its last criteria, and its score where it has none.

        Raises:
            ValueError: fresh scores are wanted, and nothing was ever observed.
        """
        num_draws = self.num_draws
        if self.scheduler.refreshes(self.epoch + 1):
            self._samples.gather()
            if not self._samples.refresh():
                raise ValueError(
                    f"the scheduler '{self.scheduler.name}' wants fresh scores after epoch {self.epoch}, "
                    "and nothing was observed; call `observe` with the model's logits before `end_epoch`"
                )
        self._samples.num_draws = num_draws
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
            **self._samples.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state_dict` was taken.

        Raises:
            ValueError: the state is of another version or plan, or damaged; nothing is changed then.
        """
        if state.get("version") != VERSION:
            raise ValueError(f"the state has version {state.get('version')}, expected {VERSION}")
        plan = self._plan()
        for name in {**plan, **state["plan"]}:
            if state["plan"].get(name) != plan.get(name):
                raise ValueError(
                    f"the state is of another plan: its {name} is {state['plan'].get(name)}, not {plan.get(name)}"
                )
        self._samples.load_state_dict(state)
        self.epoch, self._position = state["epoch"], state["position"]
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
            **({} if self.shard is None else {"shard": self.shard, "rank": self.rank}),
        }


class _Handout(Iterator[int]):
    """The indices of an epoch, and how many were handed out.

    torchdata's `StatefulDataLoader` keeps the states of a sampler and of its iterator, each as of the batch that was
    returned last, so that it resumes there without `advance`.
    """

    def __init__(self, sampler: CurriculumSampler) -> None:
        self._sampler, self._position = sampler, sampler._position
        self._indices = sampler._from(self._position)

    def __next__(self) -> int:
        index = next(self._indices)
        self._position += 1
        return index

    def state_dict(self) -> dict[str, int]:
        """The place in the epoch."""
        return {"position": self._position}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Go on from there, as `CurriculumSampler.advance` would have it."""
        self._position = self._sampler._position = state["position"]
        self._indices = self._sampler._from(self._position)
