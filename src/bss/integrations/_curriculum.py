"""What the callbacks share: a sampler that is made when the trainer knows its data and its ranks."""

import base64
import io
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, distributed
from torch.utils.data import DataLoader

from bss import CurriculumSampler, Evidence
from bss.curriculum.schedulers.scheduler import Scheduler
from bss.errors import InputError

NUM_PROBED = 1000
"""Epochs before one of which a scheduler that wants a clean pass at all wants one."""


class TrainerCurriculum:
    """A curriculum that a trainer steers; the callbacks say when.

    Args:
        scheduler: makes the sequence of each epoch.
        seed: of the draws.
        scores: balance scores (N,) to start from, larger is more balanced.
        evidence: gives the outputs for all training samples in their order, by a clean pass of the model as it is;
            for schedulers with `score_update` `pass` or `mixed`. `bss.collect` makes one.
        held_out: gives those for all held-out samples; for `Matched`.
        labels: classes (N,) of the training samples; for a scheduler with `by_class`.

    Raises:
        InputError: the scheduler is none, or needs `evidence`, `held_out` or `labels`.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        seed: int = 0,
        *,
        scores: np.ndarray | Tensor | None = None,
        evidence: Callable[[], Evidence] | None = None,
        held_out: Callable[[], Evidence] | None = None,
        labels: np.ndarray | Tensor | None = None,
    ) -> None:
        if not isinstance(scheduler, Scheduler):
            raise InputError(f"scheduler is {scheduler!r}, expected one such as bss.Random()")
        if evidence is None and any(map(scheduler.wants_pass, range(1, NUM_PROBED))):
            raise InputError(
                f"the scheduler '{scheduler.name}' wants clean passes over the training samples: give "
                "evidence=, a function that makes one, or score_update='online'"
            )
        if held_out is None and scheduler.held_out:
            raise InputError(f"the scheduler '{scheduler.name}' compares with held-out samples: give held_out=")
        if labels is None and scheduler.by_class:
            raise InputError(f"the scheduler '{scheduler.name}' has by_class: give labels=, the class of each sample")
        self._settings = (scheduler, seed, scores, labels)
        self._evidence, self._held_out = evidence, held_out
        self._sampler: CurriculumSampler | None = None

    @property
    def sampler(self) -> CurriculumSampler:
        """The sampler, once a training has begun.

        Raises:
            InputError: none has.
        """
        if self._sampler is None:
            raise InputError("there is no sampler before the training begins")
        return self._sampler

    def begin(self, loader: DataLoader[Any], rank: int, num_replicas: int) -> DataLoader[Any]:
        """The same loader with a new sampler of this curriculum.

        Raises:
            InputError: the loader has no batches of one size for a sampler to fill.
        """
        if loader.batch_size is None:
            raise InputError("the training's DataLoader has a batch_sampler of its own: give it batch_size instead")
        scheduler, seed, scores, labels = self._settings
        num_samples = len(loader.dataset)  # type: ignore[arg-type]
        self._sampler = CurriculumSampler(
            num_samples, scheduler, seed, scores=scores, labels=labels, rank=rank, num_replicas=num_replicas
        )
        names: tuple[str, ...] = (
            "batch_size",
            "num_workers",
            "collate_fn",
            "pin_memory",
            "drop_last",
            "timeout",
            "worker_init_fn",
        )
        names += ("multiprocessing_context", "generator", "prefetch_factor", "persistent_workers")
        return DataLoader(loader.dataset, sampler=self._sampler, **{name: getattr(loader, name) for name in names})

    def observe(self, outputs: Mapping[str, Any]) -> None:
        """Take what a training step computed, where the scheduler follows it.

        Args:
            outputs: `index` (B,) of the training set, `labels` (B,), `logits` of every modality and "fused", (B, C)
                each; `features` (B, dim) of every modality where the criteria need them.

        Raises:
            InputError: one of them is missing.
        """
        if not self.sampler.wants_batches:
            return
        if missing := [name for name in ("index", "logits", "labels") if outputs.get(name) is None]:
            raise InputError(
                f"the scheduler '{self.sampler.scheduler.name}' follows what training computes, and a step gave no "
                f"{' and no '.join(missing)}: see docs/integrations.md"
            )
        self.sampler.observe(outputs["index"], outputs["logits"], outputs["labels"], outputs.get("features"))

    def end_epoch(self) -> None:
        """Measure what the scheduler wants measured, and close the epoch; all ranks together."""
        if self._evidence and self.sampler.wants_pass:
            seen = self._evidence()
            self.sampler.observe(np.arange(self.sampler.num_samples), seen.logits, seen.labels, seen.features)
        if self._held_out and self.sampler.wants_held_out:
            seen = self._held_out()
            self.sampler.observe_held_out(seen.logits, seen.labels, seen.features)
        self.sampler.end_epoch()

    def expect_length(self, num_batches: int, first: int) -> None:
        """Refuse an epoch of another length than the first, for a trainer that would cut it short or wait for more.

        Raises:
            InputError: it has another.
        """
        if num_batches != first:
            raise InputError(
                f"epoch {self.sampler.epoch} of the scheduler '{self.sampler.scheduler.name}' has {num_batches} "
                f"batches and the first {first}, and this trainer wants as many: try epoch_length='full'"
            )

    def states(self) -> list[dict[str, Any]]:
        """The state of the sampler of every rank, by rank; all ranks call it together."""
        own = self.sampler.state_dict()
        states = [own] * self.sampler.num_replicas
        if len(states) > 1:
            distributed.all_gather_object(states, own)
        return states

    def go_on(self, states: list[dict[str, Any]]) -> None:
        """Go on where `states` was taken.

        Raises:
            ValueError: it is of another number of ranks, or of another curriculum.
        """
        if len(states) != self.sampler.num_replicas:
            raise InputError(
                f"the checkpoint is of {len(states)} ranks, this training has {self.sampler.num_replicas}"
            )
        self.sampler.load_state_dict(states[self.sampler.rank])


def to_text(states: list[dict[str, Any]], step: int) -> str:
    """States after a step, for a checkpoint that is JSON: about 40 bytes a sample and rank."""
    torch.save({"step": step, "states": states}, file := io.BytesIO())
    return base64.b64encode(file.getvalue()).decode()


def from_text(text: str | None, step: int) -> list[dict[str, Any]]:
    """What `to_text` was given.

    Raises:
        InputError: it was given nothing, or what was so after another step.
    """
    saved: dict[str, Any] = {"step": None, "states": []}
    if text:
        saved = torch.load(io.BytesIO(base64.b64decode(text)), weights_only=True)
    if saved["step"] != step:
        raise InputError(f"the checkpoint of step {step} has no state of the curriculum of that step")
    states: list[dict[str, Any]] = saved["states"]
    return states
