"""Samples a second against the released procedure: two ResNet-18s on clips in the shape of CREMA-D, on the CPU.

python -m benchmarks.released [--quick]
"""

import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
import typer

from benchmarks.cremad_shaped import CremadShaped
from benchmarks.figures import Figure, ratios, table
from benchmarks.procedures import Decoded, Training, released_epoch
from bss import CurriculumSampler, Learned, params
from bss.data.pack import pack
from bss.data.packed import PackedSplit, open_split
from bss.encoders.model import MultimodalModel, build_model
from bss.encoders.resnet18 import ResNet18
from bss.training.loader import batches
from bss.training.methods.joint import Joint
from bss.training.runtime import Runtime
from bss.training.trainer import Trainer

THREADS = 2
SETTINGS = params.Optimisation(batch_size=16, optimizer="sgd", lr=0.01, weight_decay=1e-4, momentum=0.9)


def measure(quick: bool = False) -> list[Figure]:
    """Rounds of one epoch of either, in turns."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = CremadShaped(folder=folder, num_train=6 if quick else 32)
        pack(data, folder / "packed")
        split = open_split(folder / "packed", "train")
        settings = SETTINGS.model_copy(update={"batch_size": 3 if quick else 16})
        ours, theirs = _Ours(split, settings), _Released(data, split, settings)
        seconds: dict[str, list[float]] = {"ours": [], "theirs": []}
        losses: dict[str, list[float]] = {"ours": [], "theirs": []}
        for _ in range(1 if quick else 4):
            for key, epoch in (("ours", ours.epoch), ("theirs", theirs.epoch)):
                start = time.perf_counter()
                losses[key].append(epoch())
                seconds[key].append((time.perf_counter() - start) / len(split))
        return [*_figures(seconds, losses), *_parts(split, theirs, ours)]


class _Ours:
    """Packed once, bfloat16 and channels_last, scores from the steps themselves."""

    def __init__(self, split: PackedSplit, settings: params.Optimisation) -> None:
        self.runtime = Runtime(
            params.Runtime(
                device="cpu", precision="bfloat16", compile=False, channels_last=True, deterministic=True,
                threads=THREADS, num_workers=0,
            )
        )  # fmt: skip
        self.split, self.settings = split, settings
        self.trainer = Trainer(_model(split), Joint(), settings, self.runtime)
        self.sampler = CurriculumSampler(len(split), Learned(score_update="online"))

    def epoch(self) -> float:
        order = self.sampler.sequence()
        todo = batches(self.split, order, self.settings.batch_size, self.runtime)
        losses = self.trainer.train_epoch(todo, self.settings.lr, self.sampler.observe)
        self.sampler.end_epoch()
        return sum(losses.values())

    def resident(self, num_steps: int) -> None:
        batch = next(batches(self.split, np.arange(self.settings.batch_size), self.settings.batch_size, self.runtime))
        self.trainer.train_epoch([batch] * num_steps, self.settings.lr)


class _Released:
    """Every sample decoded every epoch, twice; float32; a scoring pass with gradients on."""

    def __init__(self, data: CremadShaped, split: PackedSplit, settings: params.Optimisation) -> None:
        model = _model(split)
        optimizer = torch.optim.SGD(model.parameters(), lr=settings.lr, momentum=0.9, weight_decay=1e-4)
        self.training = Training(model, optimizer, settings.batch_size)
        self.raw = Decoded(data, split)
        self.sampler = CurriculumSampler(len(split), Learned(variant="released"))

    def epoch(self) -> float:
        return released_epoch(self.training, self.raw, self.sampler)


def _model(split: PackedSplit) -> MultimodalModel:
    return build_model(split.meta, dict.fromkeys(split.meta.modalities, ResNet18()), 0)


def _figures(seconds: dict[str, list[float]], losses: dict[str, list[float]]) -> list[Figure]:
    milliseconds = {key: [1000 * value for value in values] for key, values in seconds.items()}
    return [
        Figure("released procedure, a sample of an epoch", milliseconds["theirs"], " ms"),
        Figure("bss, a sample of an epoch", milliseconds["ours"], " ms"),
        Figure("samples a second, bss / released", ratios(seconds["theirs"], seconds["ours"]), "", ("at least", 5)),
        Figure("training loss of the last epoch, released", losses["theirs"][-1:]),
        Figure("training loss of the last epoch, bss", losses["ours"][-1:]),
    ]


def _parts(split: PackedSplit, theirs: _Released, ours: _Ours) -> list[Figure]:
    size = ours.settings.batch_size
    items = [theirs.raw[row] for row in range(size)]
    inputs = {name: torch.stack([item[0][name] for item in items]) for name in split.meta.modalities}
    labels, rows = torch.stack([item[1] for item in items]), torch.arange(size)
    training = theirs.training
    cases: dict[str, Callable[[], object]] = {
        "decode": lambda: [theirs.raw[row] for row in range(size)],
        "forward in train mode, float32 (the scoring pass)": lambda: training.forward(inputs),
        "step on a resident batch, float32": lambda: training.steps(iter([(inputs, labels, rows)]), None),
        "step on a resident batch, bfloat16 and channels_last": lambda: ours.resident(1),
    }
    return [Figure(f"{name}, a sample", list(_times(case, size)), " ms") for name, case in cases.items()]


def _times(case: Callable[[], object], size: int) -> Iterator[float]:
    for _ in range(3):
        start = time.perf_counter()
        case()
        yield 1000 * (time.perf_counter() - start) / size


if __name__ == "__main__":

    def main(quick: bool = False) -> None:
        """Measure and print."""
        print(table(measure(quick)))

    typer.run(main)
