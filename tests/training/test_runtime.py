"""Where and how the arithmetic runs: precision, devices, determinism."""

from pathlib import Path

import numpy as np
import pytest
import torch

from bss.encoders.mlp import MLP
from bss.model import build_model
from bss.training.loader import batches
from bss.training.methods.joint import Joint
from bss.training.runtime import Runtime
from bss.training.trainer import Trainer
from bss.types import Split
from tests.helpers.toy import SETTINGS, TRAIN, packed_toy


def test_bfloat16_trains_too(tmp_path: Path) -> None:
    runtime = Runtime.start(SETTINGS.model_copy(update={"precision": "bfloat16"}))
    train = packed_toy(tmp_path)[Split.TRAIN]
    model = build_model(train.meta, {name: MLP(width=16) for name in train.meta.modalities}, 0)
    trainer = Trainer(model, Joint(), TRAIN, runtime)
    losses = [trainer.train_epoch(batches(train, np.arange(96), 16, runtime), 0.01)["fused"] for _ in range(6)]
    assert losses[-1] < 0.5 * losses[0]
    assert all(value.dtype == torch.float32 for value in trainer.model.parameters())


@pytest.mark.parametrize(("convolution", "sides"), [("Conv1d", ()), ("Conv2d", (5,)), ("Conv3d", (5, 7))])
def test_the_gradients_of_a_narrow_map_repeat_in_bfloat16(convolution: str, sides: tuple[int, ...]) -> None:
    runtime = Runtime.start(SETTINGS.model_copy(update={"precision": "bfloat16"}))
    layer = getattr(torch.nn, convolution)
    values = torch.randn(16, 16, *sides, 1)
    exact = layer(16, 32, 3, stride=2, padding=1)
    exact(values).square().sum().backward()
    assert exact.weight.grad is not None
    for _ in range(10):
        network = torch.nn.Sequential(layer(16, 32, 3, stride=2, padding=1))
        network[0].load_state_dict(exact.state_dict())
        runtime.prepare(network)
        junk = [torch.full((size,), torch.nan) for size in (1_000, 5_000, 20_000, 100_000)]
        del junk
        with runtime.autocast():
            maps = network(values)
        halves = [(side + 1) // 2 for side in sides]
        assert maps.shape == (16, 32, *halves, 1)
        maps.float().square().sum().backward()
        assert torch.allclose(network[0].weight.grad, exact.weight.grad, atol=0.02 * exact.weight.grad.abs().max())
        assert network[0](torch.randn(2, 16, *sides, 5)).shape == (2, 32, *halves, 3), "a wider map is stepped by two"


def test_a_memory_format_is_of_pictures_alone() -> None:
    runtime = Runtime.start(SETTINGS.model_copy(update={"channels_last": True}))
    network = torch.nn.ModuleList([torch.nn.Conv1d(2, 4, 3), torch.nn.Conv2d(2, 4, 3), torch.nn.Conv3d(2, 4, 3)])
    runtime.prepare(network)
    assert network[1].weight.is_contiguous(memory_format=torch.channels_last)
    assert all(network[place].weight.is_contiguous() for place in (0, 2))


@pytest.mark.skipif(torch.cuda.is_available(), reason="the error is that of a machine without CUDA")
def test_cuda_is_refused_where_there_is_none() -> None:
    with pytest.raises(ValueError, match=r"runtime\.device: 'cuda', but torch finds no CUDA device"):
        Runtime.start(SETTINGS.model_copy(update={"device": "cuda"}))
    assert Runtime.start(SETTINGS.model_copy(update={"device": "auto"})).device.type == "cpu"
