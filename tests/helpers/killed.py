"""Trainings that are killed, and go on from their checkpoints."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import nn

from bss.curriculum.sampler import CurriculumSampler
from bss.curriculum.schedulers.learned import Learned
from bss.curriculum.schedulers.scheduler import Scheduler
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


def model_with_chance(splits: Splits) -> MultimodalModel:
    """Batch statistics, and dropout: what is not a weight has to come back as well."""
    model = build_model(splits[Split.TRAIN].meta, {}, 0)
    for branch in model.branches.values():
        branch.encoder = nn.Sequential(branch.encoder, nn.Dropout(0.3))
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


def expect_resumed(splits: Splits, method: Method, folder: Path, **settings: Any) -> None:
    """Assert that a training killed in its second epoch ends with the bytes of one that never was."""
    given = (splits, Learned(score_update="online"), method)
    whole = outcome(*given, **settings)
    killed_after(9, folder, *given, **settings)
    assert outcome(*given, Checkpoints(folder, 10), **settings) == whole
