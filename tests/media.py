"""Real media files, tiny: sound, pictures, and videos with and without sound."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import PIL.Image
import soundfile

CODECS = {".flv": ("flv1", "pcm_s16le"), ".mp4": ("mpeg4", "aac"), ".avi": ("mjpeg", None)}
"""Suffix -> codec of the pictures and of the sound."""
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
    picture_codec, sound_codec = CODECS[path.suffix]
    with av.open(str(path), "w") as container:
        video = container.add_stream(picture_codec, rate=fps)
        video.width = video.height = 32
        video.pix_fmt = "yuvj420p" if picture_codec == "mjpeg" else "yuv420p"
        video.bit_rate = 2_000_000
        audio = container.add_stream(sound_codec, rate=RATE) if with_sound and sound_codec else None
        for step in range(num_frames):
            frame = av.VideoFrame.from_ndarray(pixels(seed, step), format="rgb24")
            frame.pts, frame.time_base = step, Fraction(1, fps)
            container.mux(video.encode(frame))
        container.mux(video.encode())
        if audio is not None:
            sound = av.AudioFrame.from_ndarray(tone(seed, num_frames / fps)[None], format="fltp", layout="mono")
            sound.sample_rate, sound.pts = RATE, 0
            resampler = av.AudioResampler(format=audio.format, layout="mono", rate=RATE, frame_size=audio.frame_size)
            for part in [*resampler.resample(sound), *resampler.resample(None)]:
                container.mux(audio.encode(part))
            container.mux(audio.encode())
    return path
