"""Files that end before their own header says: half downloads, found wherever the format can tell."""

import re
import struct
from collections.abc import Iterator
from math import prod
from typing import Any, BinaryIO

from bss.data.kinds._content import named, opened
from bss.errors import InputError

UNKNOWN = {0, 2**31 - 1, 2**32 - 1, 2**63 - 1, -1}
"""Sizes that a writer leaves which could not come back to the header."""
IN_DS64 = 2**32 - 1
"""The size of a part of RF64 whose true size, of 64 bits, is in the part `ds64`."""
HEADER = 27
"""Bytes of a page of Ogg before the sizes of its segments; the last of them is the number of those."""
LAST = 70_000
"""Bytes at the end of a file among which the last page of Ogg begins: a page has 65,307 at most."""


def check_seconds(name: str, lasts: float, declared: float, spare: float) -> None:
    """Compare what was decoded with what the header promises.

    Args:
        name: of the file, for the message.
        lasts: seconds decoded.
        declared: seconds by the header.
        spare: seconds by which the two differ in a whole file: encoders add some.

    Raises:
        InputError: the file ends early.
    """
    if lasts < declared - spare:
        raise InputError(f"{name} ends early: {lasts:.1f} of {declared:.1f} s")


def check_bytes(path: Any) -> None:
    """Compare the size of a file, or of its content, with what its parts promise.

    These formats have such parts: RIFF (WAV, AVI, WebP), RF64, W64, AIFF, AU, CAF, VOC, NIST SPHERE, Ogg.

    Raises:
        InputError: the file ends early.
        OSError: it cannot be read.
    """
    with opened(path) as file:
        num_bytes = file.seek(0, 2)
        file.seek(0)
        head = file.read(12)
        ends = OF_FORMAT.get(head[:4])
        for end in ends(file, num_bytes) if ends else ():
            if end > num_bytes:
                raise InputError(f"{named(path)} ends early: {num_bytes:,} of {end:,} bytes")


def _parts(file: BinaryIO, num_bytes: int) -> Iterator[int]:
    """Where each part of a RIFF, RF64 or AIFF file ends: a name, a size, and as many bytes, made even."""
    file.seek(0)
    order = ">" if file.read(4) == b"FORM" else "<"
    start, true_size = 12, IN_DS64
    while start + 8 <= num_bytes:
        file.seek(start)
        name, size = struct.unpack(f"{order}4sI", file.read(8))
        if (name, size) == (b"data", IN_DS64):
            size = true_size
        if size in UNKNOWN:
            return
        yield start + 8 + size
        if name == b"ds64" and size >= 16:
            (true_size,) = struct.unpack("<8xQ", file.read(16))
        start += 8 + size + size % 2


def _parts_of_64_bits(file: BinaryIO, num_bytes: int) -> Iterator[int]:
    """Where each part of a W64 file ends: a name of 16 bytes, a size with those and itself, made a multiple of 8."""
    start = 40
    while start + 24 <= num_bytes:
        file.seek(start + 16)
        (size,) = struct.unpack("<q", file.read(8))
        if size in UNKNOWN or size < 24:
            return
        yield start + size
        start += size + -size % 8


def _parts_of_core_audio(file: BinaryIO, num_bytes: int) -> Iterator[int]:
    """Where each part of a CAF file ends: a name, a size of 8 bytes, and as many bytes."""
    start = 8
    while start + 12 <= num_bytes:
        file.seek(start + 4)
        (size,) = struct.unpack(">q", file.read(8))
        if size in UNKNOWN or size < 0:
            return
        yield start + 12 + size
        start += 12 + size


def _blocks(file: BinaryIO, num_bytes: int) -> Iterator[int]:
    """Where each block of a VOC file ends: a type, 0 behind the last one, a size of 3 bytes, and as many bytes."""
    file.seek(20)
    start = int.from_bytes(file.read(2), "little")
    while start + 4 <= num_bytes:
        file.seek(start)
        what, *size = file.read(4)
        if what == 0:
            return
        start += 4 + int.from_bytes(size, "little")
        yield start


def _sphere(file: BinaryIO, num_bytes: int) -> Iterator[int]:
    """Where the samples of a NIST SPHERE file end, whose header is text; of compressed ones it does not say that."""
    file.seek(0)
    head = file.read(1024).partition(b"end_head")[0]
    begins = re.match(rb"NIST_1A\n *(\d+)\n", head)
    sizes = re.findall(rb"^(?:channel_count|sample_count|sample_n_bytes) -\w+ (\d+)", head, re.MULTILINE)
    if begins and len(sizes) == 3 and b"embedded-" not in head:
        yield int(begins[1]) + prod(map(int, sizes))


def _sun(file: BinaryIO, num_bytes: int) -> Iterator[int]:
    file.seek(4)
    start, size = struct.unpack(">II", file.read(8))
    if size not in UNKNOWN:
        yield start + size


def _last_page(file: BinaryIO, num_bytes: int) -> Iterator[int]:
    """Where the last page of an Ogg file ends: 27 bytes, the sizes of its segments, and those."""
    file.seek(max(0, num_bytes - LAST))
    tail = file.read()
    start = tail.rfind(b"OggS")
    if start < 0:
        return
    page = tail[start:]
    num_segments = page[HEADER - 1] if len(page) >= HEADER else 0
    sizes = page[HEADER : HEADER + num_segments]
    yield num_bytes - len(page) + HEADER + num_segments + sum(sizes)


OF_FORMAT = {
    b"RIFF": _parts,
    b"RF64": _parts,
    b"FORM": _parts,
    b"riff": _parts_of_64_bits,
    b"caff": _parts_of_core_audio,
    b"Crea": _blocks,
    b"NIST": _sphere,
    b".snd": _sun,
    b"OggS": _last_page,
}
"""The first four bytes of a file -> where its parts end."""
