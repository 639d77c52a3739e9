"""Frames and sound of video files, through the FFmpeg that PyAV carries."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from bss.data.kinds._complete import check_bytes, check_seconds
from bss.data.kinds._content import named
from bss.data.kinds._content import opened as opened_file
from bss.errors import InputError

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from PIL.Image import Image as Picture

MICROSECONDS = 1_000_000
SPARE_SECONDS, SPARE_SHARE = 0.5, 0.05
"""Seconds, and share of the declared ones, that the last packet of a whole file may lie before its declared end."""


@contextmanager
def opened(path: Any, stream: str) -> Iterator["InputContainer"]:
    """The container at `path`, or in the cell `{"bytes": ...}`, which has a stream of that type.

    Raises:
        FileNotFoundError: there is no such file.
        InputError: it cannot be decoded, ends early, or has no such stream.
    """
    import av

    if not isinstance(path, Mapping) and not Path(path).is_file():
        raise FileNotFoundError(2, "No such file", str(path))
    check_bytes(path)
    try:
        with av.open(opened_file(path) if isinstance(path, Mapping) else str(path), mode="r") as container:
            if not getattr(container.streams, stream):
                raise InputError(f"{named(path)} has no {stream}")
            yield container
    except InputError:
        raise
    except (av.FFmpegError, ValueError) as error:  # a ValueError where a stream changes its form on the way
        reason = getattr(error, "strerror", None) or error
        raise InputError(
            f"{named(path)} is no readable {'video' if stream == 'video' else 'sound file'}: {reason}"
        ) from error


def _decoded(container: "InputContainer", stream: str) -> Iterator[Any]:
    """The frames of the first stream of a type.

    Raises:
        InputError: the packets of all streams end before the container says.
    """
    chosen = getattr(container.streams, stream)[0]
    ends = 0.0
    for packet in container.demux():
        ends = max(ends, _end(packet))
        if packet.stream is chosen:
            yield from packet.decode()
    _check_end(container, ends)


def _check_end(container: "InputContainer", ends: float) -> None:
    """Compare the end of the last packet of any stream, in seconds, with what the container says."""
    declared, start = (container.duration or 0) / MICROSECONDS, (container.start_time or 0) / MICROSECONDS
    spare = max(SPARE_SECONDS, SPARE_SHARE * declared)
    check_seconds(container.name, ends - start, declared, spare)


def sound(path: Any) -> tuple[np.ndarray, int]:
    """Samples in -1 .. 1, shape (samples,), averaged over channels, and their rate in hertz.

    Raises:
        FileNotFoundError: there is no such file.
        InputError: it cannot be decoded, or has no sound.
    """
    import av

    with opened(path, "audio") as container:
        rate = container.streams.audio[0].rate
        resampler = av.AudioResampler(format="fltp")
        parts = [part.to_ndarray() for frame in _decoded(container, "audio") for part in resampler.resample(frame)]
        if not parts:
            raise InputError(f"{named(path)} holds no sample")
        return np.concatenate(parts, axis=1).mean(axis=0), rate


def frames(path: Any, times: Sequence[float] | None = None) -> Iterator["VideoFrame"]:
    """The frames of a video in order; with `times`, ascending seconds, the one on the screen at each of them.

    Raises:
        FileNotFoundError: there is no such file.
        InputError: it cannot be decoded, or has no picture.
    """
    with opened(path, "video") as container:
        decoded = _decoded(container, "video")
        if times is None:
            yield from decoded
            return
        current = next(decoded, None)
        following = next(decoded, None)
        first = current.time or 0.0 if current else 0.0
        for time in times:
            while following is not None and (following.time or 0.0) - first <= time:
                current, following = following, next(decoded, None)
            if current is not None:
                yield current


def picture(frame: "VideoFrame") -> "Picture":
    """A frame as a picture of Pillow, upright: telephones keep the turn beside the pixels."""
    upright = cast("Picture", frame.to_image())  # type: ignore[no-untyped-call]
    return upright.rotate(frame.rotation, expand=True) if frame.rotation else upright


def seconds(path: Any, stream: str = "video") -> float:
    """Seconds that a stream lasts, by its header, or else by its last packet.

    Raises:
        FileNotFoundError: there is no such file.
        InputError: it cannot be decoded, or has no such stream.
    """
    with opened(path, stream) as container:
        chosen = getattr(container.streams, stream)[0]
        if chosen.duration:
            return float(chosen.duration * chosen.time_base)
        ends = dict.fromkeys(container.streams, 0.0)
        for packet in container.demux():
            ends[packet.stream] = max(ends[packet.stream], _end(packet))
        _check_end(container, max(ends.values()))
        return ends[chosen]


def _end(packet: "Packet[Any]") -> float:
    """Seconds from the beginning; 0 for the empty packet behind the last."""
    if packet.pts is None or packet.time_base is None:
        return 0.0
    return float((packet.pts + (packet.duration or 0)) * packet.time_base)
