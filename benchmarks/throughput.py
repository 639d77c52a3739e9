"""The speed of the loader as a share of that of a resident batch, on the CPU."""

import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.cremad_shaped import CremadShaped
from benchmarks.figures import Figure, ratios
from benchmarks.overhead import dataset
from bss.data.datasets.dataset import Dataset
from bss.data.packed import PackedSplit, open_split
from bss.data.packing.pack import pack
from bss.encoders.encoder import Encoder
from bss.encoders.resnet18 import ResNet18
from bss.model import build_model
from bss.training.loader import batches
from bss.training.methods.joint import Joint
from bss.training.runtime import Runtime
from bss.training.settings import Optimisation, RuntimeSettings
from bss.training.trainer import Trainer


def runtime(device: str = "cpu", threads: int = 1, num_workers: int = 0, **settings: object) -> Runtime:
    """The default settings on a device."""
    values = {
        "precision": "float32",
        "compile": False,
        "channels_last": False,
        "deterministic": True,
    }
    checked = RuntimeSettings.model_validate({**values, "device": device, "threads": threads, **settings})
    return Runtime.start(checked, num_workers=num_workers)


def shares(split: PackedSplit, encoder: Encoder | None, size: int, rounds: int, where: Runtime) -> list[float]:
    """Seconds of an epoch of a resident batch over those of an epoch of the loader, a round each."""
    encoders = dict.fromkeys(split.meta.modalities, encoder) if encoder else {}
    settings = Optimisation(batch_size=size, optimizer="sgd", lr=0.01, weight_decay=0, momentum=0.9)
    trainer = Trainer(build_model(split.meta, encoders, 0), Joint(), settings, where)
    num_steps = len(split) // size
    resident = next(batches(split, np.arange(size), size, where))
    seconds: dict[str, list[float]] = {"resident": [], "loader": []}
    for number in range(rounds + 1):
        order = np.random.default_rng(number).permutation(len(split))[: num_steps * size]
        for name, todo in (("resident", [resident] * num_steps), ("loader", batches(split, order, size, where))):
            start = time.perf_counter()
            trainer.train_epoch(todo, settings.lr)
            seconds[name].append(time.perf_counter() - start)
    return ratios(seconds["resident"][1:], seconds["loader"][1:])


def measure(quick: bool = False) -> list[Figure]:
    """A small and a large model."""
    with tempfile.TemporaryDirectory() as name:
        clips = CremadShaped.of(Path(name), 6 if quick else 32, quick=quick)
        cases: list[tuple[str, Dataset, Encoder | None, int, int, Runtime]] = [
            ("small CNNs", clips if quick else dataset(), None, 3 if quick else 32, 1 if quick else 12, runtime()),
            ("two ResNet-18s", clips, ResNet18(), 3 if quick else 16, 1 if quick else 3, runtime(threads=2)),
        ]
        figures = []
        for what, data, encoder, size, rounds, where in cases:
            pack(data, Path(name) / what)
            values = shares(open_split(Path(name) / what, "train"), encoder, size, rounds, where)
            quantity = f"{what} ({data.name}): throughput of the loader / of a resident batch"
            figures.append(Figure(quantity, values, "", ("at least", 0.95)))
        return figures
