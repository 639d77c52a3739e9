"""Raw values to rows of packed arrays, a block at a time: side by side, and resumed after a kill.

A block that is done leaves a note beside the arrays; the note holds what its values looked like, so that a block is
packed anew where a file has changed since.
"""

import json
import multiprocessing
import os
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bss.data.datasets.dataset import Damage
from bss.data.kinds.kind import Kind
from bss.data.packing.scale import Moments, moments
from bss.errors import InputError
from bss.files import replaced
from bss.memory import keep_freed_memory

if TYPE_CHECKING:
    import polars as pl

NUM_VALUES = 64
"""Rows of a block."""
SECONDS_ALONE = 0.5
"""Seconds of work after which the rest can be estimated."""
SECONDS_WORTH = 12.0
"""Seconds of work left that are worth more processes, which take two to start.

The kind that comes first may be slower than the rest."""


@dataclass(frozen=True)
class Block:
    """Consecutive rows of one packed array, and the raw values for them; null where there is none."""

    array: Path
    start: int
    kind: Kind
    column: "pl.Series"
    """The raw values as the items have them."""
    root: Path
    """The folder that paths start from."""
    forbidden: str | None
    """Name of the fault of a constant sample; None where it is none."""
    measured: bool
    """Whether the moments of the rows are wanted."""
    damages: Sequence[Damage | None]
    """What is done to each value on purpose."""

    @property
    def note(self) -> Path:
        """The file that says that the block is done."""
        return self.array.with_name(f"{self.array.stem}-{self.start}.json")

    @property
    def values(self) -> list[Any]:
        """The raw values as the kind reads them."""
        return raw_values(self.column, self.root, paths=self.kind.paths)

    def fingerprint(self) -> str:
        """SHA-256 over the values and how they are read: size and time of files, content of other values."""
        digest = sha256(f"{_code()} {self.kind!r} {self.forbidden} {self.measured} {self.damages}".encode())
        for value in self.values:
            digest.update(repr(_identity(value)).encode())
        return digest.hexdigest()


def raw_values(column: "pl.Series", root: Path, *, paths: bool) -> list[Any]:
    """The values of a modality's column as its kind reads them: paths below `root`, texts or arrays; None where null.

    Args:
        column: of the items or of the manifest.
        root: what paths start from.
        paths: whether strings are paths, as the kind says.
    """
    import polars as pl

    if column.dtype == pl.String and paths:
        return [None if value is None else root / value for value in column]
    if isinstance(column.dtype, pl.Array) and not column.null_count():
        return list(column.to_numpy())
    return column.to_list()


@dataclass(frozen=True)
class Packed:
    """The outcome of a block: facts, faults and moments of its rows."""

    facts: list[dict[str, float | str]]
    """The facts of each row, from `Kind.describe`."""
    faults: dict[int, str]
    """Place in the block -> the reason why that value cannot be used."""
    moments: dict[int, Moments]
    """Place in the block -> the moments of that row, where they are wanted."""


def prepare_array(path: Path, kind: Kind, num_rows: int) -> None:
    """Make the file of a packed array at its full size; one of an earlier run stays if it has the same shape.

    The room is taken at once: in a file with holes a full disk would be noticed too late.
    """
    with suppress(FileNotFoundError, ValueError):
        there = np.load(path, mmap_mode="r", allow_pickle=False)
        if (there.shape, there.dtype) == ((num_rows, *kind.shape), np.dtype(kind.dtype)):
            return
    for note in notes(path):
        note.unlink()
    np.lib.format.open_memmap(path, mode="w+", dtype=kind.dtype, shape=(num_rows, *kind.shape))
    with path.open("r+b") as file:
        os.posix_fallocate(file.fileno(), 0, path.stat().st_size)


def notes(array: Path) -> list[Path]:
    """The notes of the blocks of an array that are done."""
    return sorted(array.parent.glob(f"{array.stem}-*.json"))


def pack_blocks(blocks: Sequence[Block], num_workers: int) -> Iterator[tuple[Block, Packed]]:
    """Every block with its outcome, in any order.

    Args:
        blocks: of arrays that exist.
        num_workers: processes that may share the work; they are started if seconds of it are left.
    """
    keep_freed_memory()
    seconds, num_done = 0.0, 0
    for place, block in enumerate(blocks):
        if (packed := _noted(block)) is not None:
            yield block, packed
            continue
        left = seconds / max(num_done, 1) * (len(blocks) - place)
        if num_workers > 1 and seconds >= SECONDS_ALONE and left >= SECONDS_WORTH:
            yield from _side_by_side(blocks[place:], num_workers)
            return
        start = time.monotonic()
        yield block, pack_block(block)
        seconds, num_done = seconds + time.monotonic() - start, num_done + 1


def pack_block(block: Block) -> Packed:
    """Write the rows of a block, then its note."""
    nothing = np.zeros(block.kind.shape, block.kind.dtype)
    packed = Packed([{} for _ in range(len(block.column))], {}, {})
    fingerprint = block.fingerprint()
    with block.array.open("r+b") as file:
        file.seek(_offset(file) + block.start * nothing.nbytes)
        for place, value in enumerate(block.values):
            row = nothing
            if value is not None:
                try:
                    row = read_row(block.kind, value, block.forbidden, block.damages[place])
                    packed.facts[place] = block.kind.describe(value)
                except (InputError, OSError) as error:
                    packed.faults[place] = reason(error, value)
                else:
                    if block.measured:
                        packed.moments[place] = moments(row)
            file.write(row.data)
        file.flush()
        os.fsync(file.fileno())
    with replaced(block.note, lasting=False) as temporary:
        temporary.write_text(json.dumps({"of": fingerprint, **asdict(packed)}), encoding="utf-8")
    return packed


def _side_by_side(blocks: Sequence[Block], num_workers: int) -> Iterator[tuple[Block, Packed]]:
    # A fork would have the threads' locks of this process without its threads.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(num_workers, context, initializer=_begin) as pool:
        try:
            futures = {pool.submit(_packed, block): block for block in blocks}
            for future in as_completed(futures):
                yield futures[future], future.result()
        except BrokenProcessPool as error:
            reason = "a process that packs has died, for want of memory if nobody killed it"
            raise InputError(f"{reason}; run again: what is packed is kept") from error
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _packed(block: Block) -> Packed:
    return _noted(block) or pack_block(block)


def _noted(block: Block) -> Packed | None:
    """The outcome that an earlier run has noted, if the values are still the same."""
    try:
        noted = json.loads(block.note.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):  # there is none, or a power cut has left a part of it
        return None
    if noted["of"] != block.fingerprint():
        return None
    faults = {int(place): text for place, text in noted["faults"].items()}
    return Packed(noted["facts"], faults, {int(at): Moments(*three) for at, three in noted["moments"].items()})


def read_row(kind: Kind, value: Any, forbidden: str | None, damage: Damage | None = None) -> np.ndarray:
    """The array of one raw value as it is packed.

    Args:
        kind: that reads it.
        value: as the kind reads it.
        forbidden: name of the fault of a constant sample; None where it is none.
        damage: what is done to it on purpose.

    Raises:
        InputError: it cannot be used; `reason` says why in short.
        OSError: it is a path that cannot be opened.
    """
    if damage is not None and damage.is_blank:
        return kind.blank()
    value = value if damage is None else damage.noisy(kind, value)
    array = np.ascontiguousarray(kind.read(value), kind.dtype)
    if array.shape != kind.shape:
        raise InputError(f"has shape {array.shape}, {kind.shape} is declared")
    if not kind.padded and not np.isfinite(array).all():
        raise InputError("gives values that are not finite")
    if forbidden is not None and kind.is_constant(array):
        raise InputError(f"{forbidden.replace('_', ' ')} (preprocess.allow: [{forbidden}] takes it)")
    return array


def reason(error: Exception, value: Any) -> str:
    """Why a value cannot be used, without its path, which stands beside it."""
    text = str(error.strerror).lower() if isinstance(error, OSError) and error.strerror else str(error)
    return text.removeprefix(f"{value} ") if isinstance(value, Path) else text


def _identity(value: Any) -> Any:
    """Name, size and time of a file; names and times of a folder's; of any other value its content."""
    if isinstance(value, Path):
        try:
            status = value.stat()
            if value.is_dir():
                return str(value), [(path.name, _time(path)) for path in sorted(value.iterdir())]
        except OSError:
            return str(value)
        return str(value), status.st_size, status.st_mtime_ns
    return (value.shape, value.dtype.str, value.tobytes()) if isinstance(value, np.ndarray) else value


def _time(path: Path) -> int | None:
    with suppress(OSError):  # a link in a folder may lead nowhere
        return path.stat().st_mtime_ns
    return None


@cache
def _code() -> str:
    """SHA-256 of the code that reads values: another version reads them anew."""
    files = sorted(Path(__file__).parents[1].rglob("*.py"))
    return sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def _offset(file: Any) -> int:
    version = np.lib.format.read_magic(file)
    np.lib.format.read_array_header_1_0(file) if version == (1, 0) else np.lib.format.read_array_header_2_0(file)
    return int(file.tell())


def _begin() -> None:
    """Begin a worker: it ends with its parent, which if killed would leave it to wait for work for ever."""
    keep_freed_memory()
    threading.Thread(target=_watch, args=[multiprocessing.parent_process()], daemon=True).start()


def _watch(parent: Any) -> None:
    parent.join()
    os._exit(1)
