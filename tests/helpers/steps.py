"""One training step of a method, to hold against the equations."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from bss.curriculum.sampler import CurriculumSampler
from bss.curriculum.schedulers.random import Random
from bss.data.packed import PackedSplit
from bss.encoders.encoder import Encoder
from bss.encoders.fusions.fusion import Fusion
from bss.encoders.mlp import MLP
from bss.model import MultimodalModel, build_model
from bss.training.loader import Batch, batches
from bss.training.loop import fit
from bss.training.methods.method import Method
from bss.training.runtime import Runtime
from bss.training.trainer import Trainer
from bss.types import Split
from tests.helpers.toy import SETTINGS, TRAIN

Splits = dict[Split, PackedSplit]
EPOCHS = 2


def small_trainer(
    splits: Splits, method: Method, fusion: Fusion | None = None, encoders: Mapping[str, Encoder] | None = None
) -> Trainer:
    """A trainer of a small model, its encoders of differing widths where none are given."""
    meta = splits[Split.TRAIN].meta
    unlike = {name: MLP(width=8 + 4 * number) for number, name in enumerate(meta.modalities)}
    model = build_model(meta, unlike if encoders is None else encoders, 0, fusion)
    return Trainer(model, method, TRAIN, Runtime.start(SETTINGS))


def first_batch(splits: Splits, size: int = 16) -> Batch:
    """The first samples of the training split."""
    return next(iter(batches(splits[Split.TRAIN], np.arange(size), size, Runtime.start(SETTINGS))))


def gradients(trainer: Trainer, batch: Batch) -> dict[str, Tensor]:
    """Name of a weight -> the gradient that one step hands to the optimizer; the weights stay."""
    handed = {}

    def update() -> None:
        for name, weight in trainer.model.named_parameters():
            handed[name] = torch.zeros_like(weight) if weight.grad is None else weight.grad.clone()
            weight.grad = None

    trainer.update = update  # type: ignore[method-assign]
    trainer.model.train()
    trainer._step(batch)
    return handed


def slow_gradients(model: MultimodalModel, batch: Batch, output: str) -> dict[str, Tensor]:
    """Name of a weight -> the gradient of one output's mean cross-entropy."""
    model.zero_grad()
    model.train()
    cross_entropy(model(batch.inputs).logits[output], batch.labels).backward()
    gradient = {
        name: torch.zeros_like(weight) if weight.grad is None else weight.grad.clone()
        for name, weight in model.named_parameters()
    }
    model.zero_grad()
    return gradient


def trained_weights(splits: Splits, method: Method) -> dict[str, Tensor]:
    """Name -> weight, after a training of some epochs."""
    trainer = small_trainer(splits, method)
    train = splits[Split.TRAIN]
    settings = TRAIN.model_copy(update={"keep": "last"})
    fit(trainer, CurriculumSampler(len(train), Random()), train, splits[Split.VALIDATION], settings, EPOCHS)
    return {name: values.detach().clone() for name, values in trainer.model.state_dict().items()}


def assert_same(one: Mapping[str, Tensor], other: Mapping[str, Tensor], part: str = "") -> None:
    """Assert that all weights whose names contain `part` are the same to the last bit."""
    assert one.keys() == other.keys()
    assert any(part in name for name in one)
    for name, values in one.items():
        assert part not in name or torch.equal(values, other[name]), name


def assert_close(one: Mapping[str, Tensor], other: Mapping[str, Tensor], atol: float = 1e-6) -> None:
    """Assert that all weights are the same up to rounding."""
    assert one.keys() == other.keys()
    for name, values in one.items():
        assert torch.allclose(values, other[name], rtol=1e-4, atol=atol), name
