"""The cost of a schedule: an epoch of `learned` against one of random order, on real data."""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks.cremad_shaped import CremadShaped
from benchmarks.figures import Figure, ratios
from benchmarks.procedures import (
    Decoded,
    Training,
    clean_pass,
    online_epoch,
    pass_epoch,
    random_epoch,
    released_epoch,
)
from bss import CurriculumSampler, Learned
from bss.data.datasets.avdigits import AVDigits
from bss.data.datasets.dataset import Dataset
from bss.data.datasets.digits import Digits
from bss.data.packed import PackedSplit, open_split
from bss.data.packing.pack import pack
from bss.model import build_model


def dataset() -> Dataset:
    """avdigits where its folder is, else the embedded digits."""
    try:
        digits = AVDigits()
        digits.locate()
    except FileNotFoundError:
        return Digits()
    return digits


def measure(quick: bool = False) -> list[Figure]:
    """Rounds of one epoch of each kind, in turns; the ratios of each round."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        data = CremadShaped.of(Path(folder), 6, quick=True) if quick else dataset()
        pack(data, Path(folder) / "packed")
        split = open_split(Path(folder) / "packed", "train")
        kinds = _epochs(data, split)
        seconds: dict[str, list[float]] = {name: [] for name in kinds}
        for number in range(2 if quick else 25):
            for name, epoch in kinds.items():
                start = time.process_time()  # one thread that never waits
                epoch(number)
                if number:  # the first one warms up
                    seconds[name].append(time.process_time() - start)
    return _figures(data.name, seconds)


def _epochs(data: Dataset, split: PackedSplit) -> dict[str, Callable[[int], object]]:
    def training() -> Training:
        model = build_model(split.meta, {}, 0)
        return Training(model, torch.optim.AdamW(model.parameters(), lr=0.002), 32)

    def sampler(update: str = "online") -> CurriculumSampler:
        return CurriculumSampler(len(split), Learned(score_update=update))  # type: ignore[arg-type]

    plain, online, single, clean, released, forward = (training() for _ in range(6))
    samplers = {name: sampler(name) for name in ("online", "pass")}
    of_single, of_released, raw = sampler(), sampler("pass"), Decoded(data, split)
    return {
        "random": lambda number: random_epoch(plain, split, number),
        "online": lambda number: online_epoch(online, split, samplers["online"]),
        "online, batch by batch": lambda number: online_epoch(single, split, of_single, observed=1),
        "pass": lambda number: pass_epoch(clean, split, samplers["pass"]),
        "released": lambda number: released_epoch(released, raw, of_released),
        "forward": lambda number: list(clean_pass(forward, split)),
    }


def _figures(name: str, seconds: dict[str, list[float]]) -> list[Figure]:
    base = seconds["random"]
    share = ratios(seconds["forward"], base)
    bound = 1 + sorted(share)[len(share) // 2]
    return [
        Figure(f"{name}: an epoch in random order", base, " s"),
        Figure("learned, online / random", ratios(seconds["online"], base), "", ("at most", 1.03)),
        Figure("learned, online, observed batch by batch / random", ratios(seconds["online, batch by batch"], base)),
        Figure("a clean pass alone / random (the forward share)", share),
        Figure("learned, pass / random", ratios(seconds["pass"], base), "", ("at most", bound)),
        Figure("released procedure / random", ratios(seconds["released"], base)),
    ]
