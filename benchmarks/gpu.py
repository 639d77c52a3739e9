"""Training on a GPU: throughput, the share of it that the loader reaches, and of the device's matrix rate."""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.cremad_shaped import CremadShaped
from benchmarks.figures import Figure, Unavailable
from benchmarks.throughput import runtime, shares
from bss.data.packed import PackedSplit, open_split
from bss.data.packing.pack import pack
from bss.encoders.resnet18 import ResNet18
from bss.model import build_model
from bss.training.loader import batches
from bss.training.methods.joint import Joint
from bss.training.runtime import Runtime
from bss.training.settings import Optimisation
from bss.training.trainer import Trainer

VARIANTS: dict[str, dict[str, Any]] = {
    "float32": {},
    "bfloat16": {"precision": "bfloat16"},
    "bfloat16, channels_last": {"precision": "bfloat16", "channels_last": True},
    "bfloat16, channels_last, not deterministic": {
        "precision": "bfloat16",
        "channels_last": True,
        "deterministic": False,
    },
    "bfloat16, channels_last, compiled": {"precision": "bfloat16", "channels_last": True, "compile": True},
}


def matrix_rate(device: str, size: int) -> float:
    """FLOP/s of a large bfloat16 matrix product."""
    left, right = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))
    return 2 * size**3 / _seconds(lambda: left @ right, device, 5)


def step_flops(split: PackedSplit, device: str, size: int) -> int:
    """Operations of one training step, counted by torch."""
    where = runtime(device)
    with FlopCounterMode(display=False) as counter:
        _trainer(split, where, size).train_epoch([next(batches(split, np.arange(size), size, where))], 0.01)
    return int(counter.get_total_flops())


def measure(quick: bool = False) -> list[Figure]:
    """Each variant's samples a second, FLOP/s against the matrix rate, and the share of a resident batch's speed.

    The quick form runs on the CPU.

    Raises:
        Unavailable: no CUDA device is here.
    """
    device = "cpu" if quick else "cuda"
    if not quick and not torch.cuda.is_available():
        raise Unavailable("torch finds no CUDA device here")
    size = 3 if quick else 256
    figures, rate = [], matrix_rate(device, 256 if quick else 8192)
    figures.append(Figure("bfloat16 matrix product", [rate / 1e12], " TFLOP/s"))
    with tempfile.TemporaryDirectory() as name:
        pack(CremadShaped.of(Path(name), 2 * size if quick else 2048, quick=quick), Path(name) / "packed")
        split = open_split(Path(name) / "packed", "train")
        of_rate = step_flops(split, device, size) / rate
        for what, settings in list(VARIANTS.items())[: 1 if quick else None]:
            figures += _variant(split, what, settings, device, size, 1 if quick else 5, of_rate)
    return figures


def _variant(
    split: PackedSplit, what: str, settings: dict[str, Any], device: str, size: int, rounds: int, of_rate: float
) -> list[Figure]:
    where = runtime(device, threads=2, num_workers=8 if device == "cuda" else 0, **settings)
    trainer = _trainer(split, where, size)
    batch = next(batches(split, np.arange(size), size, where))
    trainer.train_epoch([batch] * 3, 0.01)
    seconds = [_seconds(lambda: trainer.train_epoch([batch] * 4, 0.01), device, 1) / 4 for _ in range(rounds)]
    return [
        Figure(f"{what}: samples a second", [size / value for value in seconds]),
        Figure(f"{what}: share of the matrix rate", [of_rate / value for value in seconds]),
        Figure(
            f"{what}: loader / resident batch", shares(split, ResNet18(), size, rounds, where), "", ("at least", 0.95)
        ),
    ]


def _trainer(split: PackedSplit, where: Runtime, size: int) -> Trainer:
    settings = Optimisation(batch_size=size, optimizer="sgd", lr=0.01, weight_decay=0, momentum=0.9)
    encoders = dict.fromkeys(split.meta.modalities, ResNet18())
    return Trainer(build_model(split.meta, encoders, 0), Joint(), settings, where)


def _seconds(work: Callable[[], object], device: str, times: int) -> float:
    wait = torch.cuda.synchronize if device == "cuda" else (lambda: None)
    work()
    wait()
    start = time.perf_counter()
    for _ in range(times):
        work()
    wait()
    return (time.perf_counter() - start) / times
