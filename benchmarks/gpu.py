"""Training on a GPU: throughput, its share of the device's matrix rate, what the loader and a schedule take of it."""

import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.cremad_shaped import CremadShaped
from benchmarks.figures import Figure, Unavailable, ratios
from benchmarks.throughput import runtime, shares
from bss import CurriculumSampler, Learned, Random
from bss.data.packed import PackedSplit, open_split
from bss.data.packing.pack import pack
from bss.encoders.resnet18 import ResNet18
from bss.model import build_model
from bss.training.loader import batches, cached
from bss.training.methods.joint import Joint
from bss.training.runtime import Runtime
from bss.training.settings import Optimisation
from bss.training.trainer import Trainer

FASTEST = "bfloat16, channels_last"
VARIANTS: dict[str, dict[str, Any]] = {
    FASTEST: {"precision": "bfloat16", "channels_last": True},
    "float32": {},
    "bfloat16": {"precision": "bfloat16"},
    "bfloat16, channels_last, not deterministic": {
        "precision": "bfloat16",
        "channels_last": True,
        "deterministic": False,
    },
    "bfloat16, channels_last, compiled": {"precision": "bfloat16", "channels_last": True, "compile": True},
}
"""What is worth most comes first: time may run out."""


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


def measure(quick: bool = False) -> Iterator[Figure]:
    """Each variant's samples a second, FLOP/s against the matrix rate, and the share of a resident batch's speed.

    The quick form runs on the CPU.

    Raises:
        Unavailable: no CUDA device is here.
    """
    device = "cpu" if quick else "cuda"
    if not quick and not torch.cuda.is_available():
        raise Unavailable("torch finds no CUDA device here")
    size = 3 if quick else 256
    rate = matrix_rate(device, 256 if quick else 8192)
    yield Figure("bfloat16 matrix product", [rate / 1e12], " TFLOP/s")
    with tempfile.TemporaryDirectory() as name:
        pack(CremadShaped.of(Path(name), 2 * size if quick else 2048, quick=quick), Path(name) / "packed")
        split = open_split(Path(name) / "packed", "train")
        of_rate = step_flops(split, device, size) / rate
        for what, settings in list(VARIANTS.items())[: 1 if quick else None]:
            where = runtime(device, threads=2, num_workers=8 if device == "cuda" else 0, **settings)
            yield from _variant(split, what, where, size, 1 if quick else 5, of_rate)
            if what == FASTEST:
                yield _schedule(cached(split, "device", where), where, size, 1 if quick else 10)


def _variant(
    split: PackedSplit, what: str, where: Runtime, size: int, rounds: int, of_rate: float
) -> Iterator[Figure]:
    device, trainer = where.device.type, _trainer(split, where, size)
    batch = next(batches(split, np.arange(size), size, where))
    trainer.train_epoch([batch] * 3, 0.01)
    seconds = [_seconds(lambda: trainer.train_epoch([batch] * 4, 0.01), device, 1) / 4 for _ in range(rounds)]
    yield Figure(f"{what}: samples a second", [size / value for value in seconds])
    yield Figure(f"{what}: share of the matrix rate", [of_rate / value for value in seconds], "", ("at least", 0.5))
    for cache, kept in (("device", cached(split, "device", where)), ("disk", split)):
        share = shares(kept, ResNet18(), size, rounds, where)
        yield Figure(f"{what}: loader / resident batch, samples on the {cache}", share, "", ("at least", 0.95))


def _schedule(split: PackedSplit, where: Runtime, size: int, rounds: int) -> Figure:
    """Seconds of an epoch of `learned`, scored by the steps themselves, over those of one in random order."""
    samplers = {
        "random": CurriculumSampler(len(split), Random()),
        "learned": CurriculumSampler(len(split), Learned(score_update="online")),
    }
    trainers = {name: _trainer(split, where, size) for name in samplers}

    def epoch(name: str) -> float:
        sampler, start = samplers[name], time.perf_counter()
        observe = (lambda seen: sampler.observe(*seen)) if sampler.wants_batches else None
        trainers[name].train_epoch(batches(split, sampler.sequence(), size, where), 0.01, observe)
        sampler.end_epoch()
        return time.perf_counter() - start

    seconds = [{name: epoch(name) for name in samplers} for _ in range(rounds + 1)][1:]  # the first one warms up
    ratio = ratios([taken["learned"] for taken in seconds], [taken["random"] for taken in seconds])
    return Figure("an epoch of learned, online / random", ratio, "", ("at most", 1.03))


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
