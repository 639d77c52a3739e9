"""What the files, or arrays, of a modality seem to be, by what is in them: a kind with its sizes."""

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from math import ceil, log2
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bss.data.kinds._content import is_file, opened
from bss.data.kinds._matlab import is_matlab
from bss.data.kinds._picture import pictures_in
from bss.data.kinds.features import Features, as_array, common_size, from_file
from bss.errors import InputError
from bss.wording import counted

NUM_READ = 32
"""Values of a column that are opened."""
HEAD = 16
"""Bytes of a file that say what it is."""
MAX_SIDE, MAX_STEPS, MAX_SECONDS, MAX_RATE = 112, 256, 10.0, 16_000
"""Pixels, steps, seconds and hertz that are proposed at most: more is asked for by hand."""
WINDOW = 0.032
"""Seconds of a window of a spectrogram, about."""
NUM_FRAMES, NUM_MELS = 8, 64
IMAGES = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"BM", b"II*\0", b"MM\0*", b"P5", b"P6")
SOUNDS = (b"fLaC", b"OggS", b"ID3", b"\xff\xfb", b"\xff\xf3", b"FORM", b".snd")
VIDEOS = (b"\x1aE\xdf\xa3", b"FLV", b"\0\0\x01\xba")
ARRAYS = (b"\x93NUMPY", b"MATLAB ")
RAGGED = "lists that are no numbers of one shape"
OF_RIFF = {b"WAVE": "audio", b"AVI ": "video", b"WEBP": "image"}


class Seen(NamedTuple):
    """What values seem to be."""

    kind: dict[str, Any] | None
    """The kind as params.yaml spells it; None where none fits."""
    why: str


def look(values: Sequence[Any]) -> Seen:
    """The kind that values which are there seem to ask for.

    Args:
        values: the first of a column: paths of files, their content as `{bytes, path}`, lists or arrays.
    """
    if not is_file(values[0]):
        with suppress(InputError):
            return _arrays([as_array(value) for value in values], "")
        return Seen(None, RAGGED)
    types = [type_of(value) for value in values]
    common, _ = Counter(types).most_common(1)[0]
    known = [value for value, name in zip(values, types, strict=True) if name == common]
    readers = {"image": _images, "audio": _sounds, "video": _videos, "array": _files, "text": _texts}
    with suppress(InputError, OSError):
        if common in readers:
            return readers[common](known)
    return Seen(None, "files that cannot be read, or are none of image, audio, video, array and text")


def type_of(value: Any) -> str:
    """image, audio, video, array or text, by the first bytes of a file; empty where it is none of them."""
    if isinstance(value, Path) and value.is_dir():
        return "video" if pictures_in(value) else ""
    try:
        with opened(value) as file:
            head = file.read(HEAD)
    except (InputError, OSError):
        return ""
    if head[:4] == b"RIFF":
        return OF_RIFF.get(head[8:12], "")
    if head[4:8] == b"ftyp":
        return "audio" if head[8:11] == b"M4A" else "video"
    starts = {"image": IMAGES, "audio": SOUNDS, "video": VIDEOS, "array": ARRAYS}
    found = [name for name, marks in starts.items() if head.startswith(marks)]
    if not found and is_matlab(value):  # of version 4, which has no mark
        return "array"
    return found[0] if found else "" if b"\0" in head else "text"


def _images(values: Sequence[Any]) -> Seen:
    import PIL.Image

    sizes, modes = Counter[tuple[int, int]](), Counter[str]()
    for value in values:
        with opened(value) as file, PIL.Image.open(file) as picture:
            sizes[picture.size[::-1]] += 1
            modes[picture.mode] += 1
    is_grey = all(mode in {"1", "L"} or mode.startswith("I;16") for mode in modes)
    return _picture("image", sizes, is_grey, "pictures")


def _picture(name: str, sizes: "Counter[tuple[int, int]]", is_grey: bool, what: str) -> Seen:
    """The commonest size, where it is small enough; else its proportions do not matter to a square."""
    (height, width), _ = sizes.most_common(1)[0]
    size: int | list[int] = [height, width] if max(height, width) <= MAX_SIDE else MAX_SIDE
    size = height if height == width <= MAX_SIDE else size
    several = "of several sizes, most often" if len(sizes) > 1 else "of"
    why = f"{what} {several} {height} x {width}{', grey' if is_grey else ''}"
    return Seen({"name": name, "size": size, **({"channels": 1} if is_grey else {})}, why)


def _sounds(values: Sequence[Any]) -> Seen:
    from bss.data.kinds.audio import decode, duration

    rates = Counter(decode(value)[1] for value in values[:4])
    lasts = max(duration(value) for value in values)
    (rate, _), *_ = rates.most_common(1)
    used = min(rate, MAX_RATE)
    n_fft = 2 ** round(log2(WINDOW * used))
    kind = {
        "name": "audio",
        "sample_rate": used,
        "seconds": min(ceil(100 * lasts) / 100, MAX_SECONDS),
        "n_fft": n_fft,
        "hop_length": n_fft // 2,
        "length": "pad",
        **({"num_mels": NUM_MELS} if used == MAX_RATE else {}),
    }
    return Seen(kind, f"sounds of {rate} Hz, {lasts:.2f} s at most")


def _videos(values: Sequence[Any]) -> Seen:
    import PIL.Image

    from bss.data.kinds import _media as media

    sizes = Counter[tuple[int, int]]()
    for value in values[:4]:
        if isinstance(value, Path) and value.is_dir():
            with PIL.Image.open(pictures_in(value)[0]) as picture:
                sizes[picture.size[::-1]] += 1
        else:
            frame = media.picture(next(media.frames(value, [0.0])))
            sizes[frame.size[::-1]] += 1
    found = _picture("video", sizes, False, "videos")
    return Seen({**(found.kind or {}), "num_frames": NUM_FRAMES}, found.why)


def _files(values: Sequence[Any]) -> Seen:
    return _arrays([from_file(value) for value in values], "files of ")


def _texts(values: Sequence[Any]) -> Seen:
    from bss.data.kinds.text import from_file as text_of

    found = texts([text_of(value) for value in values])
    return Seen({**(found.kind or {}), "from_files": True}, f"files of {found.why}")


def texts(values: Sequence[str]) -> Seen:
    """The kind for texts: as many words as nearly all have."""
    lengths = sorted(len(value.split()) for value in values)
    length = max(1, lengths[min(len(lengths) - 1, ceil(0.95 * len(lengths)))])
    shortest, longest = lengths[0], counted(lengths[-1], "word")
    words = longest if shortest == lengths[-1] else f"{shortest} to {longest}"
    return Seen({"name": "text", "length": min(length, MAX_STEPS)}, f"texts of {words}")


def _arrays(arrays: list[np.ndarray], what: str) -> Seen:
    """The kind for arrays, by their axes; one without a number in it says nothing of them."""
    arrays = [array for array in arrays if array.size] or [np.array(None)]
    first = arrays[0]
    shapes = " x ".join(map(str, first.shape))
    longest = min(max(len(array) if array.ndim else 0 for array in arrays), MAX_STEPS)
    if first.dtype.kind not in "iufb" or any(array.ndim != first.ndim for array in arrays):
        return Seen(None, f"{what}{RAGGED}")
    is_of_bytes = first.dtype.kind in "iu" and all(0 <= array.min() <= array.max() <= 255 for array in arrays)
    if is_of_bytes and first.ndim >= 2 and first.shape[2:] in [(), (3,)] and min(first.shape[:2]) >= 8:
        sizes = Counter((array.shape[0], array.shape[1]) for array in arrays)
        return _picture("image", sizes, first.ndim == 2, f"{what}arrays of bytes")
    if first.ndim == 1:
        size = common_size(Features(), arrays)
        return Seen({"name": "features", "size": size}, f"{what}lists of {size} numbers")
    if first.ndim == 2:
        size = int(first.shape[1])
        return Seen({"name": "sequence", "length": longest, "size": size}, f"{what}steps of {size} numbers")
    if first.ndim == 3 and first.shape[-1] in (2, 3):
        joints, coordinates = map(int, first.shape[1:])
        kind = {"name": "skeleton", "joints": joints, "coordinates": coordinates, "length": longest}
        return Seen(kind, f"{what}frames of {joints} joints in {coordinates} coordinates")
    return Seen(None, f"{what}arrays of {shapes}, which may be of several kinds")
