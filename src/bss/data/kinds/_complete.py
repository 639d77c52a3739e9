"""Files that end before their own header says: half downloads, found wherever the format can tell."""

import struct
from collections.abc import Iterator
from typing import Any, BinaryIO

from bss.data.kinds._content import named, opened
from bss.errors import InputError

UNKNOWN = {0, 2**31 - 1, 2**32 - 1}
"""Sizes that a writer leaves which could not come back to the header."""
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

    These formats have such parts: RIFF (WAV, AVI, WebP), AIFF, AU, Ogg.

    Raises:
        InputError: the file ends early.
        OSError: it cannot be read.
    """
    with opened(path) as file:
        num_bytes = file.seek(0, 2)
        file.seek(0)
        head = file.read(12)
        ends = {b"RIFF": _parts, b"FORM": _parts, b".snd": _sun, b"OggS": _last_page}.get(head[:4])
        for end in ends(file, num_bytes) if ends else ():
            if end > num_bytes:
                raise InputError(f"{named(path)} ends early: {num_bytes:,} of {end:,} bytes")


def _parts(file: BinaryIO, num_bytes: int) -> Iterator[int]:
    """Where each part of a RIFF or AIFF file ends: a name, a size, and as many bytes, made even."""
    file.seek(0)
    order = "<" if file.read(4) == b"RIFF" else ">"
    start = 12
    while start + 8 <= num_bytes:
        file.seek(start + 4)
        (size,) = struct.unpack(f"{order}I", file.read(4))
        if size in UNKNOWN:
            return
        yield start + 8 + size
        start += 8 + size + size % 2


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
