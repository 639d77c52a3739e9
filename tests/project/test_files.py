"""A file is whole or not there, and a disk without room is told as one, whatever a library makes of it."""

import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from bss.data.kinds.audio import Audio
from bss.data.kinds.kind import Kind
from bss.data.packing.pack import pack
from bss.files import DiskFull, remove_unfinished, replaced, write_tensors, write_text
from tests.data.test_pack import Sounds, pairs
from tests.helpers import ROOT

NOISE = np.random.default_rng(0).normal(size=52_000)


def write_table(path: Path) -> None:
    with replaced(path) as temporary:
        pl.DataFrame({"noise": NOISE}).write_parquet(temporary)


def write_small_groups(path: Path) -> None:
    with replaced(path) as temporary:
        pl.DataFrame({"noise": NOISE}).write_parquet(temporary, compression="zstd", row_group_size=100)


WRITERS: dict[str, Callable[[Path], None]] = {
    "text": lambda path: write_text("x" * 400_000, path),
    "tensors": lambda path: write_tensors({"noise": torch.tensor(NOISE)}, path),
    "table": write_table,
    "small groups": write_small_groups,
}


@contextmanager
def at_most(num_bytes: int) -> Iterator[None]:
    """No file of this process may grow beyond this; it is refused as a full disk is."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("num_bytes", [0, 1, 10_000, 200_001, 370_000])
def test_without_room_the_old_file_stays_and_nothing_else(tmp_path: Path, writer: str, num_bytes: int) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with at_most(num_bytes), pytest.raises(DiskFull, match=f"{path} was not written: File too large"):
        WRITERS[writer](path)
    assert [found.name for found in tmp_path.iterdir()] == ["file"]
    assert path.read_text() == "old"
    WRITERS[writer](path)
    assert path.stat().st_size > 370_000


def test_another_failure_stays_what_it_is(tmp_path: Path) -> None:
    with pytest.raises(KeyError), replaced(tmp_path / "file") as temporary:
        temporary.write_text("half")
        raise KeyError("wrong")
    assert not list(tmp_path.iterdir())


def test_what_a_killed_process_left_is_removed_and_what_a_living_one_writes_is_not(tmp_path: Path) -> None:
    program = f"""
import os, signal
from pathlib import Path
from bss.files import replaced
with replaced(Path({str(tmp_path)!r}) / "a/file") as temporary:
    temporary.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    subprocess.run([sys.executable, "-c", program], env=os.environ | {"PYTHONPATH": str(ROOT / "src")}, check=False)
    (left,) = (tmp_path / "a").iterdir()
    (tmp_path / f".~folder.{left.suffix[1:]}").mkdir()
    with replaced(tmp_path / "mine") as temporary:
        temporary.touch()
        remove_unfinished(tmp_path)
        assert temporary.exists()
    assert {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")} == {"a", "mine"}


class LongSounds(Sounds):
    """Each array takes many pages, of which numpy itself writes the first and the last."""

    @property
    def modalities(self) -> Mapping[str, Kind]:
        return {"sound": Audio(sample_rate=8000, seconds=1.0, n_fft=64, hop_length=64, length="pad")}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 16 kB, less than one array takes; a limit for files would already refuse one with holes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16k", "none", str(folder)]
    made = subprocess.run(mount, check=False, capture_output=True, text=True)
    if made.returncode:
        pytest.skip(f"no file system can be mounted here: {made.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_packing_on_a_full_disk_says_so_and_leaves_nothing(small_disk: Path, tmp_path: Path) -> None:
    import soundfile

    for name in pairs()["sound"]:
        soundfile.write(tmp_path / name, NOISE[int(name[:-4]) :][:800] / 10, 8000, subtype="FLOAT")
    with pytest.raises(DiskFull, match=r"packed was not written: No space left on device"):
        pack(LongSounds(folder=str(tmp_path)), small_disk / "packed")
    assert not list(small_disk.iterdir())
