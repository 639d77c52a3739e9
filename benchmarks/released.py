"""Samples a second against the released procedure: two ResNet-18s on clips in the shape of CREMA-D.

On the GPU where there is one. There the released procedure is measured twice: it decodes in the process that trains,
or in as many others as there are cores.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch

from benchmarks.cremad_shaped import CremadShaped
from benchmarks.figures import Figure, ratios
from benchmarks.procedures import Decoded, Training, released_epoch
from bss import CurriculumSampler, Learned
from bss.data.packed import PackedSplit, open_split
from bss.data.packing.pack import pack
from bss.encoders.resnet18 import ResNet18
from bss.model import MultimodalModel, build_model
from bss.training.loader import batches, cached
from bss.training.methods.joint import Joint
from bss.training.runtime import Runtime
from bss.training.settings import Optimisation, RuntimeSettings
from bss.training.trainer import Trainer

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
NUM_PAIRS, BATCH_SIZE, GOAL = {"cpu": (32, 16, 5), "cuda": (512, 64, 20)}[DEVICE]
THREADS, CORES = 2, len(os.sched_getaffinity(0))
OURS, THEIRS, WITH_WORKERS = "ours", "released", "released, decoded in other processes"
SETTINGS = Optimisation(batch_size=BATCH_SIZE, optimizer="sgd", lr=0.01, weight_decay=1e-4, momentum=0.9)


def measure(quick: bool = False) -> Iterator[Figure]:
    """Rounds of either in turns, each in a process of its own: they differ in what they ask of the allocator."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pack(_clips(folder, quick), folder / "packed")
        sides = [OURS, THEIRS] if DEVICE == "cpu" else [OURS, THEIRS, WITH_WORKERS]
        measured: dict[str, list[dict[str, float]]] = {side: [] for side in sides}
        for _ in range(1 if quick else 3):
            for side, rounds in measured.items():
                command = [sys.executable, "-m", "benchmarks.released", side, name, *(["--quick"] if quick else [])]
                done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
                rounds.append(json.loads(done.stdout.splitlines()[-1]))
                print(f"{side}: {rounds[-1]}", file=sys.stderr, flush=True)  # where time runs out, this is left
        yield from _figures(measured)


def one_side(side: str, folder: Path, quick: bool) -> dict[str, float]:
    """Milliseconds a sample of an epoch and of its parts, and the training loss."""
    split = open_split(folder / "packed", "train")
    settings = SETTINGS.model_copy(update={"batch_size": 3}) if quick else SETTINGS
    num_workers = CORES if side == WITH_WORKERS else 0
    training = (
        _Ours(split, settings) if side == OURS else _Released(_clips(folder, quick), split, settings, num_workers)
    )
    training.epoch()
    start = time.perf_counter()
    loss = training.epoch()
    seconds = time.perf_counter() - start
    return {"epoch": 1000 * seconds / len(split), "loss": loss, **training.parts()}


class _Ours:
    """Packed once, on the device where they fit, bfloat16 and channels_last, scores from the steps themselves."""

    def __init__(self, split: PackedSplit, settings: Optimisation) -> None:
        self.runtime = Runtime.start(
            RuntimeSettings(
                device=DEVICE, precision="bfloat16", compile=False, channels_last=True, deterministic=True,
                threads=THREADS,
            )
        )  # fmt: skip
        # On the CPU from the disk: there the released procedure has no memory of its own either.
        self.split = cached(split, "auto", self.runtime) if DEVICE == "cuda" else split
        self.settings = settings
        self.trainer = Trainer(_model(split), Joint(), settings, self.runtime)
        self.sampler = CurriculumSampler(len(split), Learned(score_update="online"))

    def epoch(self) -> float:
        order = self.sampler.sequence()
        todo = batches(self.split, order, self.settings.batch_size, self.runtime)
        losses = self.trainer.train_epoch(todo, self.settings.lr, lambda seen: self.sampler.observe(*seen))
        self.sampler.end_epoch()
        return sum(losses.values())

    def parts(self) -> dict[str, float]:
        size = self.settings.batch_size
        batch = next(batches(self.split, np.arange(size), size, self.runtime))
        step = _milliseconds(lambda: self.trainer.train_epoch([batch], self.settings.lr), size)
        return {"step on a resident batch, bfloat16 and channels_last": step}


class _Released:
    """Every sample decoded every epoch, twice; float32; a scoring pass with gradients on."""

    def __init__(self, data: CremadShaped, split: PackedSplit, settings: Optimisation, num_workers: int) -> None:
        model = _model(split).to(DEVICE)
        optimizer = torch.optim.SGD(model.parameters(), lr=settings.lr, momentum=0.9, weight_decay=1e-4)
        self.training = Training(model, optimizer, settings.batch_size, DEVICE, num_workers)
        self.raw = Decoded(data, split)
        self.sampler = CurriculumSampler(len(split), Learned(variant="released"))

    def epoch(self) -> float:
        return released_epoch(self.training, self.raw, self.sampler)

    def parts(self) -> dict[str, float]:
        size = self.training.batch_size
        items = [self.raw[row] for row in range(size)]
        together = {name: torch.stack([item[0][name] for item in items]) for name in items[0][0]}
        labels = torch.stack([item[1] for item in items])
        inputs, labels, rows = self.training.placed((together, labels, torch.arange(size)))
        cases: dict[str, Callable[[], object]] = {
            "decode": lambda: [self.raw[row] for row in range(size)],
            "forward in train mode, float32 (the scoring pass)": lambda: self.training.forward(inputs),
            "step on a resident batch, float32": lambda: self.training.steps(iter([(inputs, labels, rows)]), None),
        }
        return {name: _milliseconds(case, size) for name, case in cases.items()}


def _clips(folder: Path, quick: bool) -> CremadShaped:
    return CremadShaped.of(folder, 6 if quick else NUM_PAIRS, quick=quick)


def _model(split: PackedSplit) -> MultimodalModel:
    return build_model(split.meta, dict.fromkeys(split.meta.modalities, ResNet18()), 0)


def _figures(measured: dict[str, list[dict[str, float]]]) -> Iterator[Figure]:
    def of(side: str, what: str) -> list[float]:
        return [values[what] for values in measured[side]]

    for side in measured:
        yield Figure(f"{side}: a sample of an epoch", of(side, "epoch"), " ms")
    for side in measured:
        if side != OURS:
            goal = ("at least", GOAL) if side == THEIRS else None
            yield Figure(f"samples a second, ours / {side}", ratios(of(side, "epoch"), of(OURS, "epoch")), "", goal)
    for side in (OURS, THEIRS):
        for name in measured[side][0]:
            if name not in ("epoch", "loss"):
                yield Figure(f"{name}, a sample", of(side, name), " ms")
    for side in measured:
        yield Figure(f"{side}: training loss of the second epoch", of(side, "loss"))


def _milliseconds(work: Callable[[], object], num_samples: int) -> float:
    start = time.perf_counter()
    work()
    if DEVICE == "cuda":
        torch.cuda.synchronize()
    return 1000 * (time.perf_counter() - start) / num_samples


if __name__ == "__main__":
    print(json.dumps(one_side(sys.argv[1], Path(sys.argv[2]), "--quick" in sys.argv)))
