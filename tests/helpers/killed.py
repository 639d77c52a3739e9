"""Trainings that are killed, and go on from their checkpoints."""

from collections.abc import Container, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import nn

from bss.curriculum.sampler import CurriculumSampler
from bss.curriculum.schedulers.learned import Learned
from bss.curriculum.schedulers.scheduler import Scheduler
from bss.encoders.mlp import MLP
from bss.model import MultimodalModel, build_model
from bss.training import weights
from bss.training.checkpoint import Checkpoints
from bss.training.loop import fit
from bss.training.methods.method import Method
from bss.training.runtime import Runtime
from bss.training.settings import RuntimeSettings
from bss.training.trainer import Trainer
from bss.types import Split
from tests.helpers.steps import Splits
from tests.helpers.toy import SETTINGS, TRAIN

EPOCHS, STEPS = 3, 6


class Killed(BaseException):
    """Not an Exception, as a signal is not."""


class Deadly(Checkpoints):
    """Writes a checkpoint after every step, and is killed right after one of them."""

    def __init__(self, folder: Path, last: int) -> None:
        super().__init__(folder, minutes=0)
        self.left = last

    def save(self, state: Mapping[str, Any]) -> None:
        super().save(state)
        self.left -= 1
        if self.left == 0:
            raise Killed


class Noting(Checkpoints):
    """Is due after every step; keeps the checkpoints that a training killed after some steps would leave.

    Args:
        folder: gets a folder for each of the steps, by its number.
        steps: numbers of steps, from 1.
    """

    def __init__(self, folder: Path, steps: Container[int]) -> None:
        super().__init__(folder, minutes=0)
        self.steps, self.number = steps, 0

    def save(self, state: Mapping[str, Any]) -> None:
        self.number += 1
        if self.number in self.steps:
            Checkpoints(self.folder / str(self.number), minutes=0).save(state)


def model_with_chance(splits: Splits) -> MultimodalModel:
    """Batch statistics, and dropout: what is not a weight has to come back as well."""
    meta = splits[Split.TRAIN].meta
    model = build_model(meta, {name: MLP(width=8) for name in meta.modalities}, 0)
    for branch in model.branches.values():
        branch.encoder = nn.Sequential(branch.encoder, nn.BatchNorm1d(8), nn.Dropout(0.3))
    return model


def outcome(
    splits: Splits,
    scheduler: Scheduler,
    method: Method,
    checkpoints: Checkpoints | None = None,
    runtime: RuntimeSettings = SETTINGS,
    **settings: Any,
) -> dict[str, Any]:
    """All that a training leaves."""
    train = splits[Split.TRAIN]
    trainer = Trainer(model_with_chance(splits), method, TRAIN.model_copy(update=settings), Runtime.start(runtime))
    sampler = CurriculumSampler(len(train), scheduler, scores=np.linspace(-1, 1, len(train)))
    history = fit(trainer, sampler, train, splits[Split.VALIDATION], trainer.settings, EPOCHS, None, checkpoints)
    return {
        "history": history.write_json(),
        "num_steps": trainer.num_steps,
        "draws": sampler.num_draws.tolist(),
        "scores": sampler.scores.tobytes(),
        "weights": {name: values.numpy().tobytes() for name, values in weights.take(trainer.model).items()},
    }


def killed_after(
    number: int, folder: Path, splits: Splits, scheduler: Scheduler, method: Method, **settings: Any
) -> None:
    """A training that is killed after some of its steps, with its checkpoints in a folder."""
    with pytest.raises(Killed):
        outcome(splits, scheduler, method, Deadly(folder, number), **settings)


def expect_resumed(
    splits: Splits,
    method: Method,
    folder: Path,
    scheduler: Scheduler | None = None,
    steps: Iterable[int] = (9,),
    **settings: Any,
) -> dict[str, Any]:
    """Assert that a training killed after any of some steps ends with the bytes of one that never was.

    The checkpoints of all the steps are of one training. What it leaves is returned.
    """
    given = (splits, scheduler or Learned(score_update="online"), method)
    whole = outcome(*given, Noting(folder, tuple(steps)), **settings)
    for number in steps:
        assert outcome(*given, Checkpoints(folder / str(number), 10), **settings) == whole, number
    return whole
