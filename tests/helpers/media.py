"""Real media files, tiny: sound, pictures, and videos with and without sound."""

from collections.abc import Sequence
from fractions import Fraction
from functools import cache
from pathlib import Path
from tempfile import NamedTemporaryFile

import av
import numpy as np
import PIL.Image
import soundfile

CODECS = {".mp4": ("mpeg4", "aac"), ".avi": ("mpeg4", "mp3"), ".flv": ("flv1", "mp3"), ".mkv": ("ffv1", "pcm_s16le")}
"""Suffix -> codec of the pictures and of the sound; those of .mkv lose nothing."""
RATE = 22050


def pixels(seed: int, step: int = 0, size: int = 32) -> np.ndarray:
    """(size, size, 3) uint8: a dark picture with a bright bar whose place is the step; noise tells seeds apart."""
    picture = np.random.default_rng(seed).integers(0, 60, (size, size, 3)).astype(np.uint8)
    picture[:, 2 * step % size : 2 * step % size + 2] = 250
    return picture


def tone(seed: int, seconds: float, rate: int = RATE) -> np.ndarray:
    """(samples,) float32: a tone of its own height in a little noise."""
    time = np.arange(round(seconds * rate)) / rate
    noise = np.random.default_rng(seed).normal(0, 0.01, len(time))
    return np.asarray(0.4 * np.sin(2 * np.pi * (300 + 37 * seed) * time) + noise, dtype=np.float32)


def write_wav(path: Path, seed: int, seconds: float = 0.3) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, tone(seed, seconds), RATE)
    return path


def write_jpg(path: Path, seed: int, step: int = 0, size: int = 32) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.fromarray(pixels(seed, step, size)).save(path, "JPEG")
    return path


def write_frames(folder: Path, seed: int, num_frames: int) -> Path:
    """A folder of frames in the order of their names."""
    for step in range(num_frames):
        write_jpg(folder / f"frame_{step:05}.jpg", seed, step)
    return folder


def write_video(path: Path, seed: int, num_frames: int, fps: int = 10, *, with_sound: bool = True) -> Path:
    """A video of `num_frames` pictures, the bar two pixels further in each; the suffix says in which format."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(_video(path.suffix, seed, num_frames, fps, with_sound and path.suffix != ".avi"))
    return path


@cache
def _video(suffix: str, seed: int, num_frames: int, fps: int, with_sound: bool) -> bytes:
    """The content of a video; the tests of a data set ask for the same ones again and again."""
    with NamedTemporaryFile(suffix=suffix) as file:
        frames = [pixels(seed, step) for step in range(num_frames)]
        encode(Path(file.name), frames, fps, tone(seed, num_frames / fps) if with_sound else None)
        return Path(file.name).read_bytes()


def encode(
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
