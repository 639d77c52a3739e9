"""Real encoded media, written by the tests."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

CODECS = {".mp4": ("mpeg4", "aac"), ".avi": ("mpeg4", "mp3"), ".flv": ("flv1", "mp3"), ".mkv": ("ffv1", "pcm_s16le")}
"""Suffix -> codecs of picture and sound; those of .mkv lose nothing."""


def write_video(
    path: Path, frames: Sequence[np.ndarray], fps: int = 10, sound: np.ndarray | None = None, rate: int = 22_050
) -> None:
    """Frames (H, W, 3) of bytes and samples (T,) in -1 .. 1; no frames, no sound: a file without that stream."""
    picture_codec, sound_codec = CODECS[path.suffix]
    with av.open(str(path), "w") as container:
        if len(frames):
            video = container.add_stream(picture_codec, rate=fps)
            video.height, video.width = frames[0].shape[:2]
            video.pix_fmt = "bgr0" if picture_codec == "ffv1" else "yuv420p"
        if sound is not None:
            audio = container.add_stream(sound_codec, rate=rate, layout="mono")
        for number, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, fps)
            container.mux(video.encode(frame))
        if len(frames):
            container.mux(video.encode())
        if sound is not None:
            samples = np.round(sound * 32767).astype(np.int16)[None]
            whole = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
            whole.sample_rate = rate
            wanted = audio.codec_context.format.name if audio.codec_context.format else "s16"
            resampler = av.AudioResampler(
                format=wanted, layout="mono", rate=rate, frame_size=audio.frame_size or None
            )
            for part in [*resampler.resample(whole), *resampler.resample(None)]:
                container.mux(audio.encode(part))
            container.mux(audio.encode())
