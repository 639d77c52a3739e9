"""Packing against plain soundfile and Pillow in one process, and reading what was packed against decoding it.

Plain is what a data set's `__getitem__` does in most code of the field: soundfile, resample, tile, STFT, logarithm;
Pillow, convert, resize. It runs in a process of its own, as such a script does, without what packing asks of glibc.
"""

import multiprocessing
import os
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil  # type: ignore[import-untyped]
import soundfile
from PIL import Image as Pictures
from scipy.signal import resample_poly

from benchmarks.cremad_shaped import CremadShaped
from benchmarks.figures import Figure, ratios
from benchmarks.procedures import Decoded
from bss.data.kinds.image import Image
from bss.data.packed import PackedSplit, open_split
from bss.data.packing.pack import pack


def measure(quick: bool = False) -> list[Figure]:
    """The same clips in turns: decoded one by one, packed by one process and by all, read in random order."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = CremadShaped.of(folder / "raw", 6 if quick else 1500, quick=quick)
        (folder / "raw").mkdir()
        pack(data, folder / "first")
        split = open_split(folder / "first", "train")
        sounds, cores = Decoded(data, split).values["audio"], len(os.sched_getaffinity(0))
        pairs = len(split) + sum(split.meta.num_pairs[other] for other in ("validation", "test"))
        cases: dict[str, Callable[[], object]] = {
            "alone": lambda: pack(data, folder / "alone"),
            "cores": lambda: pack(data, folder / "cores", cores),
            "read": lambda: _read(split),
        }
        counts = {"alone": pairs, "cores": pairs, "read": len(split)}
        rates: dict[str, list[float]] = {case: [] for case in ("plain", *cases)}
        for _ in range(1 if quick else 3):
            with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
                rates["plain"].append(len(split) / process.submit(seconds_of_plain, sounds).result())
            for case, work in cases.items():
                start = time.perf_counter()
                work()
                rates[case].append(counts[case] / (time.perf_counter() - start))
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
            gigabytes = process.submit(most_memory, data, folder / "cores", cores).result()
        figures = _of_modalities(data, sounds[:200])
    return [
        *figures,
        Figure("JPEG of four times the size, bss / plain", _of_large_frames(quick), "", ("at least", 2)),
        Figure("plain decoding in one process", rates["plain"], " pairs/s"),
        Figure("packing, one process", rates["alone"], " pairs/s"),
        Figure(f"packing, {cores} processes", rates["cores"], " pairs/s"),
        Figure(
            "packing by all cores / plain decoding", ratios(rates["cores"], rates["plain"]), "", ("at least", 1.7)
        ),
        Figure("memory of all the processes that pack, at most", [gigabytes], " GB", ("at most", 2)),
        Figure("reading packed pairs in random order", rates["read"], " pairs/s"),
        Figure("reading / plain decoding", ratios(rates["read"], rates["plain"]), "", ("at least", 50)),
    ]


def _of_large_frames(quick: bool) -> list[float]:
    """How many times as many frames of 896 x 896 pixels become 224 x 224, in turns."""
    kind, generator = Image(size=224), np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{number}.jpg" for number in range(2 if quick else 50)]
        for path in paths:
            coarse = generator.integers(0, 256, (45, 45, 3), dtype=np.uint8)
            Pictures.fromarray(coarse).resize((896, 896)).save(path, quality=90)
        seconds: dict[str, list[float]] = {"plain": [], "bss": []}
        for _ in range(2 if quick else 9):
            for name, read in (("plain", plain_image), ("bss", kind.read)):
                start = time.process_time()
                for path in paths:
                    read(path)
                seconds[name].append(time.process_time() - start)
    return ratios(seconds["plain"], seconds["bss"])


def _read(split: PackedSplit) -> None:
    for rows in np.array_split(np.random.default_rng(0).permutation(len(split)), max(1, len(split) // 32)):
        split.read(rows)


def most_memory(data: CremadShaped, out: Path, num_workers: int) -> float:
    """The most memory, in GB, that this process and those it starts have for themselves while they pack."""
    most, done = 0, threading.Event()

    def look() -> None:
        nonlocal most
        while not done.wait(0.2):
            now = 0
            for process in (psutil.Process(), *psutil.Process().children(recursive=True)):
                with suppress(psutil.Error):
                    now += process.memory_full_info().uss
            most = max(most, now)

    watch = threading.Thread(target=look)
    watch.start()
    try:
        pack(data, out, num_workers)
    finally:
        done.set()
        watch.join()
    return most / 1e9


def seconds_of_plain(sounds: Sequence[Path]) -> float:
    """For the sounds and the frames beside them."""
    start = time.perf_counter()
    for path in sounds:
        plain_audio(path)
        plain_image(path.with_suffix(".jpg"))
    return time.perf_counter() - start


def plain_audio(path: Path) -> np.ndarray:
    """A spectrogram in the published way."""
    samples, rate = soundfile.read(path)
    samples = np.tile(resample_poly(samples, 22_050, rate), 10)[: 20 * 22_050]
    padded = np.pad(samples, 256)
    frames = np.lib.stride_tricks.sliding_window_view(padded, 512)[::353] * np.hanning(513)[:-1]
    return np.log(np.abs(np.fft.rfft(frames)).T + 1e-7)[None].astype(np.float32)


def plain_image(path: Path) -> np.ndarray:
    """A frame as a tensor would hold it."""
    with Pictures.open(path) as picture:
        return np.asarray(picture.convert("RGB").resize((224, 224))).transpose(2, 0, 1)


def _of_modalities(data: CremadShaped, sounds: Sequence[Path]) -> list[Figure]:
    ways: dict[str, Callable[[Path], object]] = {"audio": plain_audio, "image": plain_image}
    figures = []
    for name, kind in data.modalities.items():
        paths = [path if name == "audio" else path.with_suffix(".jpg") for path in sounds]
        for what, read in (("plain", ways[name]), ("bss", kind.read)):
            start = time.perf_counter()
            for path in paths:
                read(path)
            figures.append(Figure(f"{name}, {what}", [len(paths) / (time.perf_counter() - start)], " a second"))
    return figures
