"""The cost of each training method against `joint`, at its default settings: time of an epoch, its floating-point
operations, and peak memory.

The sizes are those of avdigits (small CNNs) and of features of two widths (MLPs); the values are made up. An epoch is
all that `fit` does between two looks at validation, the clean passes included that some methods ask for; a round is
four epochs, after as many as each phase of the method needs. Operations are those of matrix products and
convolutions, forward and backward, in such an epoch; two ResNet-18s, where arithmetic takes the time. Memory is the
most that a process of its own ever holds, less the most it held before the first step: of the GPU where there is one,
else resident memory.
"""

import multiprocessing
import resource
import sys
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.figures import Figure, ratios
from benchmarks.throughput import runtime
from bss import params
from bss.data.packed import Meta, ModalityMeta, PackedSplit
from bss.errors import InputError
from bss.model import build_model
from bss.training.loader import batch_indices, batches
from bss.training.loop import split_evidence
from bss.training.methods.method import METHODS
from bss.training.settings import Optimisation
from bss.training.trainer import Trainer
from bss.types import Split

BASE = "joint"
NUM_CLASSES, BATCH_SIZE, LR = 10, 32, 0.002
PAGE = 4096  # bytes; less is nothing that the system counts


class Size(NamedTuple):
    """How much is trained."""

    num_pairs: int
    num_epochs: int
    """Epochs of a round."""
    num_rounds: int


FULL, LARGE, QUICK = Size(2000, 4, 3), Size(64, 4, 4), Size(64, 1, 1)
CASES = {
    "avdigits": {
        "audio": ModalityMeta(kind="audio", shape=(1, 65, 41), mean=0, std=1, encoder="small_cnn"),
        "image": ModalityMeta(kind="image", shape=(1, 8, 8), mean=0, std=1, encoder="small_cnn"),
    },
    "features": {
        "narrow": ModalityMeta(kind="features", shape=(64,), mean=0, std=1, encoder="mlp"),
        "wide": ModalityMeta(kind="features", shape=(512,), mean=0, std=1, encoder="mlp"),
    },
}

COSTLY = ("aug", "data_remixing", "mmpareto")
LARGE_CASE = "resnet18"
RESNETS = {
    "audio": ModalityMeta(kind="audio", shape=(1, 65, 41), mean=0, std=1, encoder="resnet18"),
    "image": ModalityMeta(kind="image", shape=(3, 64, 64), mean=0, std=1, encoder="resnet18"),
}
"""A size at which arithmetic takes the time: with small networks each call costs more than what it computes."""


def methods(case: str) -> list[str]:
    """The methods that train one model of all modalities, and take the data of a case, `joint` first."""
    shapes = {name: modality.shape for name, modality in CASES[case].items()}
    return [BASE, *(name for name in METHODS if name not in {BASE, params.ALONE} and _takes(name, shapes))]


def _takes(method: str, shapes: Mapping[str, tuple[int, ...]]) -> bool:
    try:
        METHODS.build(method).check_shapes(shapes)
    except InputError:
        return False
    return True


def measure(quick: bool = False) -> Iterator[Figure]:
    """Rounds of epochs in turns; then each method's memory, two processes at a time."""
    for case in CASES:
        seconds = seconds_of_epochs(case, methods(case), QUICK if quick else FULL)
        yield from _against_base(f"{case}: an epoch of", seconds, " s")
    yield from time_by_operations(QUICK if quick else LARGE)
    for case in list(CASES)[: 1 if quick else None]:
        names = methods(case)[: 2 if quick else None]
        todo = [(case, name, QUICK if quick else FULL) for name in names]
        # A process each: what one method has held would hide what the next one holds.
        with ProcessPoolExecutor(2, multiprocessing.get_context("spawn"), max_tasks_per_child=1) as processes:
            megabytes = list(processes.map(megabytes_of_training, *zip(*todo, strict=True)))
        memory = {name: [number] for name, number in zip(names, megabytes, strict=True)}
        yield from _against_base(f"{case}: memory of", memory, " MB")


def time_by_operations(size: Size) -> Iterator[Figure]:
    """How much longer the costly methods take than their operations say."""
    seconds = seconds_of_epochs(LARGE_CASE, [BASE, *COSTLY], size)
    operations = {name: operations_of_an_epoch(LARGE_CASE, name, size) for name in seconds}
    for name in COSTLY:
        counted = operations[name] / operations[BASE]
        yield Figure(f"{LARGE_CASE}: operations of {name} / {BASE}", [counted])
        over = [ratio / counted for ratio in ratios(seconds[name], seconds[BASE])]
        yield Figure(f"{LARGE_CASE}: time by operations of {name} / {BASE}", over, goal=("at most", 1.1))


def seconds_of_epochs(case: str, names: list[str], size: Size) -> dict[str, list[float]]:
    """Method -> seconds of an epoch in each round."""
    split = made_up(case, size.num_pairs)
    trainings = {name: Training(name, split) for name in names}
    seconds: dict[str, list[float]] = {name: [] for name in trainings}
    for number in range(size.num_rounds + 1):
        for name, training in trainings.items():
            for _ in range(0 if number else training.trainer.method.least_epochs - size.num_epochs):
                training.epoch()
            start = _now()
            for _ in range(size.num_epochs):
                training.epoch()
            if number:
                seconds[name].append((_now() - start) / size.num_epochs)
    return seconds


def operations_of_an_epoch(case: str, method: str, size: Size) -> float:
    """Floating-point operations of an epoch, in the mean of a round's."""
    training = Training(method, made_up(case, size.num_pairs))
    for _ in range(max(size.num_epochs, training.trainer.method.least_epochs)):
        training.epoch()
    with FlopCounterMode(display=False) as counter:
        for _ in range(size.num_epochs):
            training.epoch()
    return counter.get_total_flops() / size.num_epochs


def megabytes_of_training(case: str, method: str, size: Size) -> float:
    """Memory that a training added to the peak of this process, which has done nothing before."""
    training = Training(method, made_up(case, size.num_pairs))
    before = _most_memory()
    for _ in range(max(size.num_epochs, training.trainer.method.least_epochs)):
        training.epoch()
    return max(_most_memory() - before, PAGE) / 1e6


def made_up(case: str, num_pairs: int) -> PackedSplit:
    """Noise around a mean of each class, held in memory."""
    generator = np.random.default_rng(0)
    modalities, labels = {**CASES, LARGE_CASE: RESNETS}[case], np.arange(num_pairs) % NUM_CLASSES
    arrays = {}
    for name, modality in modalities.items():
        means = generator.normal(size=(NUM_CLASSES, *modality.shape)).astype(np.float32)
        arrays[name] = generator.standard_normal((num_pairs, *modality.shape), dtype=np.float32)
        arrays[name] += means[labels]
    meta = Meta(dataset=case, classes=tuple("0123456789"), modalities=modalities, num_pairs={Split.TRAIN: num_pairs})
    return PackedSplit(Path(), Split.TRAIN, meta, labels, tuple(map(str, labels)), arrays)


class Training:
    """A training by one method, epoch by epoch as `fit` does it."""

    def __init__(self, method: str, split: PackedSplit) -> None:
        self.split, self.held_out = split, made_up(split.meta.dataset, max(len(split) // 4, NUM_CLASSES))
        self.runtime = runtime("cuda" if torch.cuda.is_available() else "cpu")
        settings = Optimisation(batch_size=BATCH_SIZE, optimizer="adamw", lr=LR, weight_decay=0, momentum=0)
        self.trainer = Trainer(build_model(split.meta, {}, 0), METHODS.build(method), settings, self.runtime)

    def epoch(self) -> None:
        """The next one, in random order."""
        trainer, method = self.trainer, self.trainer.method
        evidence, validation = (
            cache(lambda split=split: split_evidence(trainer.module, split, BATCH_SIZE, self.runtime))
            for split in (self.split, self.held_out)
        )
        method.begin_epoch(trainer, trainer.epoch, evidence, validation)
        drawn = np.random.default_rng(trainer.epoch).permutation(len(self.split))
        order = method.order(drawn, trainer.memory)
        todo = batches(
            self.split, order.indices, BATCH_SIZE, self.runtime, shared=True, hidden=order.hidden, cuts=order.cuts
        )
        trainer.train_epoch(todo, LR, length=len(batch_indices(order.indices, BATCH_SIZE, order.cuts)))


def _against_base(what: str, values: dict[str, list[float]], unit: str = "") -> list[Figure]:
    base = values[BASE]
    others = [Figure(f"{what} {name} / {BASE}", ratios(measured, base)) for name, measured in values.items()]
    return [Figure(f"{what} {BASE}", base, unit), *others[1:]]


def _now() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.process_time()  # one thread that never waits


def _most_memory() -> int:
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    status = Path("/proc/self/status")
    if status.exists():  # getrusage counts there what the process that started this one held
        line = next(line for line in status.read_text(encoding="utf-8").splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
