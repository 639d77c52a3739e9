"""Packing against plain soundfile and Pillow in one process, and reading what was packed against decoding it."""

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.cremad_shaped import CremadShaped
from benchmarks.figures import Figure, ratios
from benchmarks.procedures import Decoded
from bss.data.pack import pack
from bss.data.packed import PackedSplit, open_split


def measure(quick: bool = False) -> list[Figure]:
    """The same clips in turns: decoded one by one, packed by one process and by all, read in random order."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = CremadShaped.of(folder / "raw", 6 if quick else 1500, quick=quick)
        (folder / "raw").mkdir()
        pack(data, folder / "first")
        split = open_split(folder / "first", "train")
        raw, cores = Decoded(data, split), len(os.sched_getaffinity(0))
        pairs = len(split) + sum(split.meta.num_pairs[other] for other in ("validation", "test"))
        cases: dict[str, Callable[[], object]] = {
            "plain": lambda: [raw[row] for row in range(len(split))],
            "alone": lambda: pack(data, folder / "alone"),
            "cores": lambda: pack(data, folder / "cores", cores),
            "read": lambda: _read(split),
        }
        counts = {"plain": len(split), "alone": pairs, "cores": pairs, "read": len(split)}
        rates: dict[str, list[float]] = {case: [] for case in cases}
        for _ in range(1 if quick else 3):
            for case, work in cases.items():
                start = time.perf_counter()
                work()
                rates[case].append(counts[case] / (time.perf_counter() - start))
        of_kinds = _of_modalities(raw, 6 if quick else 200)
    return [
        *of_kinds,
        Figure("plain decoding in one process", rates["plain"], " pairs/s"),
        Figure("packing, one process", rates["alone"], " pairs/s"),
        Figure(f"packing, {cores} processes", rates["cores"], " pairs/s"),
        Figure(
            "packing by all cores / plain decoding", ratios(rates["cores"], rates["plain"]), "", ("at least", 1.7)
        ),
        Figure("reading packed pairs in random order", rates["read"], " pairs/s"),
        Figure("reading / plain decoding", ratios(rates["read"], rates["plain"]), "", ("at least", 50)),
    ]


def _read(split: PackedSplit) -> None:
    for rows in np.array_split(np.random.default_rng(0).permutation(len(split)), max(1, len(split) // 32)):
        split.read(rows)


def _of_modalities(raw: Decoded, num: int) -> list[Figure]:
    figures = []
    for name, kind in raw.kinds.items():
        start = time.perf_counter()
        for value in raw.values[name][:num]:
            kind.read(value)
        figures.append(Figure(f"{name}: decoding", [num / (time.perf_counter() - start)], " a second"))
    return figures
