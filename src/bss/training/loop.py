"""The training loop: epochs, from a checkpoint where there is one."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from math import nan
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from torch import nn

from bss.data.packed import PackedSplit
from bss.errors import InputError
from bss.measure.evidence import Evidence, collect
from bss.seeds import generator
from bss.training.checkpoint import Checkpoints
from bss.training.curves import LiveCurves
from bss.training.divergence import explained
from bss.training.epoch import Observe
from bss.training.loader import batch_indices, batches
from bss.training.methods.joint import Joint
from bss.training.methods.method import Method, Order
from bss.training.methods.probe import Probe
from bss.training.optimizer import lr_factor
from bss.training.runtime import Runtime, memory_explained
from bss.training.selection import Selection, confidence, loss_and_accuracy
from bss.training.settings import Train, Warmup
from bss.training.trainer import Trainer

if TYPE_CHECKING:
    from bss.curriculum.sampler import CurriculumSampler

Progress = Callable[[int, dict[str, float]], None]
"""Called after each epoch with the number of epochs done and the measured values, by name."""
Report = Callable[[int, int, dict[str, float]], None]
"""Called after each epoch with the number of all epochs, the number of those done, and the measured values."""


class Run:
    """A training under way: its epoch, its history and its checkpoints.

    Args:
        trainer: the model and its steps.
        state: name -> another thing that changes, with a `state_dict` and a `load_state_dict`.
        checkpoints: of this training; without them it starts anew each time.

    Raises:
        InputError: the last checkpoint is of another number of ranks.
    """

    def __init__(self, trainer: Trainer, state: Mapping[str, Any], checkpoints: Checkpoints | None) -> None:
        self.trainer, self.checkpoints = trainer, checkpoints
        self._stateful = {"trainer": trainer, **state}
        self.epoch = 0
        self.history: list[dict[str, Any]] = []
        runtime = trainer.runtime
        saved = runtime.agreed(checkpoints.load() if checkpoints else None)
        if saved is not None:
            if saved["num_ranks"] != runtime.num_ranks:
                raise InputError(
                    f"the interrupted training ran on {saved['num_ranks']} processes, this one has "
                    f"{runtime.num_ranks}: set spread.devices and spread.nodes as they were, or remove "
                    "models/checkpoints"
                )
            self.epoch, self.history = saved["epoch"], saved["history"]
            for name, part in self._stateful.items():
                part.load_state_dict(saved[name])

    def save(self) -> None:
        """Write a checkpoint of a state that is known to be finite."""
        self.trainer.check_loss()
        state = {name: part.state_dict() for name, part in self._stateful.items()}
        if self.checkpoints:
            num_ranks = self.trainer.runtime.num_ranks
            self.checkpoints.save({"epoch": self.epoch, "history": self.history, "num_ranks": num_ranks, **state})

    def save_if_due(self) -> None:
        """Write a checkpoint where the last one is old enough."""
        if self.trainer.runtime.agreed(self.checkpoints is not None and self.checkpoints.is_due):
            self.save()

    def end_epoch(self) -> None:
        """Count an epoch and write a checkpoint."""
        self.epoch += 1
        self.save()


def split_evidence(model: nn.Module, split: PackedSplit, batch_size: int, runtime: Runtime) -> Evidence:
    """The outputs of the model for a whole split, in the order of its indices; each rank computes its share."""
    runtime.align(model)
    rows = runtime.share(np.arange(len(split)))
    with runtime.autocast():
        share = collect(model, batches(split, rows, batch_size, runtime))
    if runtime.num_ranks == 1:
        return share
    logits, features = (
        {name: runtime.whole(values.to(runtime.device), len(split)).cpu() for name, values in group.items()}
        for group in (share.logits, share.features or {})
    )
    labels = runtime.whole(share.labels.to(runtime.device), len(split)).cpu()
    return Evidence(logits, labels, features)


def warm_up(
    trainer: Trainer,
    train: PackedSplit,
    settings: Warmup,
    seed: int,
    progress: Progress | None = None,
    checkpoints: Checkpoints | None = None,
) -> Evidence:
    """Train in random order; the evidence of every training pair, from a clean pass afterwards.

    Args:
        trainer: its method is `settings.objective`.
        train: the training split.
        settings: of the warm-up.
        seed: of the orders.
        progress: is called after each epoch.
        checkpoints: of this warm-up.
    """
    run, objective = Run(trainer, {}, checkpoints), settings.objective

    def train_until(num_epochs: int) -> None:
        for epoch in range(run.epoch, num_epochs):
            order = generator(seed, "warmup", epoch).permutation(len(train))
            todo = batches(train, order, settings.batch_size, trainer.runtime, skip=trainer.num_batches, shared=True)
            losses = trainer.train_epoch(todo, settings.lr, after_step=run.save_if_due)
            run.end_epoch()
            if progress:
                progress(epoch + 1, {f"loss_{output}": loss for output, loss in losses.items()})

    with _explained("warmup", run, train):
        train_until(settings.epochs)
        objective.finish(trainer.model)
        if not objective.trains_heads:
            trainer.method = Probe(**{name: getattr(objective, name) for name in Joint.model_fields})
            trainer.method.prepare(trainer.model)
            train_until(settings.num_epochs)
        return split_evidence(trainer.module, train, settings.batch_size, trainer.runtime)


def fit(
    trainer: Trainer,
    sampler: "CurriculumSampler",
    train: PackedSplit,
    validation: PackedSplit,
    settings: Train,
    num_epochs: int,
    progress: Progress | None = None,
    checkpoints: Checkpoints | None = None,
    after_epoch: Callable[[int], None] | None = None,
    curves: LiveCurves | None = None,
) -> pl.DataFrame:
    """Train with the sampler's sequences, keep the best epoch on validation or the last, and return the history.

    A method whose training is over earlier (`Method.is_over`) ends it with an epoch that has no step.

    The history has one row an epoch and output that the method trains: losses, accuracy and mean probability of
    the true class, steps and samples so far, learning rate. `after_epoch` is called with the number of each epoch,
    from 0, before its checkpoint, on every rank. `curves` shows each epoch after its checkpoint: no epoch twice.
    """
    runtime, batch_size, method = trainer.runtime, settings.batch_size, trainer.method
    selection = Selection(trainer.model, method.selected(trainer.model))
    run = Run(trainer, {"sampler": sampler, "selection": selection}, checkpoints)
    with _explained("train", run, train):
        for epoch in range(run.epoch, num_epochs):
            if method.is_over(trainer.memory):
                break
            if trainer.num_batches == 0:
                evidence = cache(lambda: split_evidence(trainer.module, train, batch_size, runtime))
                held_out = cache(lambda: split_evidence(trainer.module, validation, batch_size, runtime))
                method.begin_epoch(trainer, epoch, evidence, _allowed(method, held_out))
                if epoch > 0:
                    if sampler.wants_pass or (sampler.wants_batches and evidence.cache_info().currsize):
                        clean = evidence()
                        sampler.observe(np.arange(len(train)), clean.logits, clean.labels, clean.features)
                    if sampler.wants_held_out:
                        seen = held_out()
                        sampler.observe_held_out(seen.logits, seen.labels, seen.features)
                    sampler.end_epoch()
            lr = settings.lr * lr_factor(settings.lr_schedule, epoch / num_epochs)
            observe = _observing(sampler) if sampler.wants_batches else None
            over = method.is_over(trainer.memory)
            # An epoch whose sequence was asked for counts as drawn.
            order = Order(np.arange(0)) if over else method.order(_several(sampler), trainer.memory)
            todo = batches(
                train, order.indices, batch_size, runtime,
                skip=trainer.num_batches, shared=True, hidden=order.hidden, cuts=order.cuts,
            )  # fmt: skip
            length = len(batch_indices(order.indices, batch_size, order.cuts))
            started, num_before = time.monotonic(), trainer.num_samples
            losses = trainer.train_epoch(todo, lr, observe, run.save_if_due, length)
            speed = (trainer.num_samples - num_before) / (time.monotonic() - started)
            on_validation = split_evidence(trainer.module, validation, batch_size, runtime)
            if settings.keep == "best" or over or epoch == num_epochs - 1:
                selection.consider(on_validation)
            outputs = method.judged(on_validation.logits)
            losses = dict.fromkeys(outputs, nan) if over else losses
            rows = [_row(epoch, output, losses[output], on_validation, trainer, lr) for output in outputs]
            run.history += rows
            if after_epoch:
                after_epoch(epoch)
            run.end_epoch()
            if curves:
                curves.write(rows, sampler, train, order.indices, speed)
            if progress:
                shown = ("validation_accuracy",) if over else ("train_loss", "validation_accuracy")
                progress(epoch + 1, {key: rows[-1][key] for key in shown})
    selection.restore()
    return pl.DataFrame(run.history)


def _allowed(method: Method, held_out: Callable[[], Evidence]) -> Callable[[], Evidence]:
    """The evidence of the validation split, for a method that says that it looks at it."""

    def look() -> Evidence:
        if not method.looks_at_validation:
            raise TypeError(f"{type(method).__name__} looks at validation: it has to say looks_at_validation")
        return held_out()

    return look


def _several(sampler: "CurriculumSampler") -> np.ndarray:
    indices = sampler.sequence()
    if len(indices) < 2:
        raise InputError(
            f"epoch {sampler.epoch} of the scheduler '{sampler.scheduler.name}' has {len(indices)} of "
            f"{sampler.num_samples} samples, and batch normalisation needs two: let it play more "
            "(min_in_play, the pacing's start)"
        )
    return indices


def _observing(sampler: "CurriculumSampler") -> Observe:
    return lambda observation: sampler.observe(*observation)


@contextmanager
def _explained(key: str, run: Run, split: PackedSplit) -> Iterator[None]:
    with memory_explained(key), explained(key, split, run.checkpoints.folder if run.checkpoints else None):
        yield


def _row(
    epoch: int, output: str, train_loss: float, evidence: Evidence, trainer: Trainer, lr: float
) -> dict[str, Any]:
    loss, accuracy = loss_and_accuracy(evidence, output)
    return {
        "epoch": epoch,
        "output": output,
        "train_loss": train_loss,
        "validation_loss": loss,
        "validation_accuracy": accuracy,
        "validation_confidence": confidence(evidence, output),
        "num_steps": trainer.num_steps,
        "num_samples": trainer.num_samples,
        "lr": lr,
    }
