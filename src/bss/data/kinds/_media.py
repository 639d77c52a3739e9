"""Frames and sound of video files, through the FFmpeg that PyAV carries."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from bss.errors import InputError

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from PIL.Image import Image as Picture

SUFFIXES = frozenset({".mp4", ".avi", ".flv", ".mkv", ".webm", ".mov", ".mpg", ".mpeg", ".m4v", ".wmv", ".3gp"})
"""Name endings of files that hold pictures and sound."""


@contextmanager
def opened(path: Any, stream: str) -> Iterator["InputContainer"]:
    """The container at `path`, which has a stream of that type.

    Raises:
        FileNotFoundError: there is no such file.
        InputError: it cannot be decoded, or has no such stream.
    """
    import av

    if not Path(path).is_file():
        raise FileNotFoundError(2, "No such file", str(path))
    try:
        with av.open(str(path)) as container:
            if not getattr(container.streams, stream):
                raise InputError(f"{path} has no {stream}")
            yield container
    except InputError:
        raise
    except (av.FFmpegError, ValueError) as error:  # a ValueError where a stream changes its form on the way
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{path} is no readable video: {reason}") from error


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
        parts = [part.to_ndarray() for frame in container.decode(audio=0) for part in resampler.resample(frame)]
        if not parts:
            raise InputError(f"{path} holds no sample")
        return np.concatenate(parts, axis=1).mean(axis=0), rate


def frames(path: Any, times: Sequence[float] | None = None) -> Iterator["VideoFrame"]:
    """The frames of a video in order; with `times`, ascending seconds, the one on the screen at each of them.

    Raises:
        FileNotFoundError: there is no such file.
        InputError: it cannot be decoded, or has no picture.
    """
    with opened(path, "video") as container:
        decoded = container.decode(video=0)
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
    """A frame as a picture of Pillow."""
    return cast("Picture", frame.to_image())  # type: ignore[no-untyped-call]


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
        packets = (packet for packet in container.demux(chosen) if packet.pts is not None)
        return float(max(((packet.pts + (packet.duration or 0)) * chosen.time_base for packet in packets), default=0))
