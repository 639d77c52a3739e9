"""Sound as a logarithmic spectrogram."""

import io
from collections.abc import Mapping
from functools import cache
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field, model_validator

from bss.data.kinds import _media as media
from bss.data.kinds._complete import check_bytes, check_seconds
from bss.data.kinds._content import named, opened
from bss.data.kinds._noise import with_noise
from bss.data.kinds.features import as_array
from bss.data.kinds.kind import Exhibit, Kind
from bss.errors import InputError

FOR_FFMPEG = {1, 4}
"""What libsndfile answers to a format or an encoding that it does not know."""
SPARE_SECONDS = 0.1
"""Seconds by which a sound may fall short of its header: what an encoder adds at the ends."""


class Audio(Kind):
    """A sound or video file -> log(|STFT| + floor), shape (1, n_fft // 2 + 1, 1 + samples // hop_length).

    With `num_mels` the power on that many mel bands takes the magnitudes' place. Channels are averaged. The frames
    are centred on multiples of `hop_length` with silence around the ends and weighted by a periodic Hann window, as
    librosa does: 22,050 Hz, 20 s, 512, 353 gives the published 257 x 1250 of CREMA-D.
    """

    encoder: ClassVar[str] = "small_cnn"
    facts: ClassVar[tuple[str, ...]] = ("duration",)
    constant: ClassVar[str | None] = "silent"
    example: ClassVar[Mapping[str, Any]] = {
        "sample_rate": 8000,
        "seconds": 1,
        "n_fft": 64,
        "hop_length": 32,
        "length": "pad",
    }

    sample_rate: int = Field(gt=0)
    """Hertz; a file of another rate is resampled."""
    seconds: float = Field(gt=0)
    """Seconds of sound in a sample."""
    n_fft: int = Field(ge=2)
    """Samples of a window of the spectrogram."""
    hop_length: int = Field(ge=1)
    """Samples from one window to the next."""
    length: Literal["pad", "tile", "crop"]
    """How a recording shorter than `seconds` is filled: by silence after it, by repetition, or not: it is refused.
    A longer one always loses its end."""

    floor: float = Field(default=1e-7, gt=0)
    """Added to the magnitudes, so that silence has a logarithm. The published 1e-7 makes the padding the
    loudest difference there is; a floor near the quietest speech does not."""
    num_mels: int | None = Field(default=None, ge=1)
    """Triangular bands, equally far apart on the mel scale of Slaney up to half the sampling rate, each of area 1."""
    level: float | None = Field(default=None, gt=0)
    """Root mean square that each recording is brought to, so that loud and soft speakers look alike."""

    @model_validator(mode="after")
    def _every_band_hears_something(self) -> "Audio":
        if self.num_samples < 1:
            raise InputError(f"seconds is {self.seconds}, which is no sample at {self.sample_rate} Hz")
        if self.num_mels is not None:
            deaf = int((mel_bands(self.sample_rate, self.n_fft, self.num_mels).sum(axis=1) == 0).sum())
            if deaf:
                raise InputError(
                    f"num_mels is {self.num_mels}, and n_fft {self.n_fft} has no frequency in {deaf} of these bands: "
                    "take fewer, or a larger n_fft"
                )
        return self

    @property
    def shape(self) -> tuple[int, ...]:
        """(1, frequencies, frames)."""
        return 1, self.num_mels or self.n_fft // 2 + 1, 1 + self.num_samples // self.hop_length

    @property
    def dtype(self) -> type[np.generic]:
        """Half precision: a logarithm stays within -17 .. 17, where a step is at most 1/64."""
        return np.float16

    @property
    def num_samples(self) -> int:
        """Samples of a recording cut or filled to `seconds`."""
        return round(self.seconds * self.sample_rate)

    def read(self, value: Any) -> np.ndarray:
        """The spectrogram of the file at path `value`, of its content `{"bytes": ...}`, or of an array (samples,) of
        numbers at `sample_rate`.

        Raises:
            FileNotFoundError: there is no such file.
            InputError: it is no sound file, is empty, ends early, or is too short where `length` is `crop`.
        """
        samples = self._fit(self._levelled(self._samples(value)), value)
        spectrum = magnitude(samples, self.n_fft, self.hop_length)
        if self.num_mels is not None:
            spectrum = mel_bands(self.sample_rate, self.n_fft, self.num_mels) @ np.square(spectrum)
        return np.asarray(np.log(spectrum + np.float32(self.floor))[None].astype(self.dtype))

    def exhibit(self, value: Any) -> Exhibit:
        """The whole recording, as it is heard at `sample_rate`."""
        import soundfile

        file = io.BytesIO()
        soundfile.write(file, self._samples(value), self.sample_rate, format="WAV", subtype="PCM_16")
        return Exhibit("audio/wav", file.getvalue())

    def describe(self, value: Any) -> dict[str, float | str]:
        """The duration in seconds."""
        lasts = len(value) / self.sample_rate if isinstance(value, np.ndarray | list) else duration(value)
        return {"duration": lasts}

    def noisy(self, value: Any, draw: np.random.Generator) -> np.ndarray:
        """The samples of the whole recording under white noise of the same mean square."""
        samples = self._samples(value)
        return with_noise(samples, np.sqrt(np.square(samples).mean()), draw)

    def blank(self) -> np.ndarray:
        """Silence."""
        return np.full(self.shape, np.log(np.float32(self.floor)), self.dtype)

    def _samples(self, value: Any) -> np.ndarray:
        if isinstance(value, np.ndarray | list):
            value = as_array(value)
            if value.ndim != 1 or value.dtype.kind != "f" or not len(value):
                raise InputError(f"an array (samples,) of floats is needed, got {value.dtype} {value.shape}")
            return np.asarray(value)
        samples, rate = decode(value)
        if rate == self.sample_rate:
            return samples
        from scipy.signal import resample_poly  # takes seconds to import

        common = int(np.gcd(rate, self.sample_rate))
        up, down = self.sample_rate // common, rate // common
        return np.asarray(resample_poly(samples, up, down, window=resampling_filter(up, down)))

    def _levelled(self, samples: np.ndarray) -> np.ndarray:
        loudness = np.sqrt(np.square(samples).mean())
        return samples if self.level is None or loudness == 0 else samples * (self.level / loudness)

    def _fit(self, samples: np.ndarray, value: Any) -> np.ndarray:
        missing = self.num_samples - len(samples)
        if missing <= 0:
            return samples[: self.num_samples]
        if self.length == "crop":
            lasts = len(samples) / self.sample_rate
            name = "a recording" if isinstance(value, np.ndarray | list) else named(value)
            raise InputError(f"{name} lasts {lasts:.3f} s, 'crop' needs {self.seconds} s: take 'pad' or 'tile'")
        return np.pad(samples, (0, missing), mode="wrap" if self.length == "tile" else "constant")


def decode(path: Any) -> tuple[np.ndarray, int]:
    """Samples in -1 .. 1, shape (samples,), averaged over channels, and their rate in hertz.

    What is in the file decides how it is read: by libsndfile what that knows, the rest by FFmpeg.

    Raises:
        FileNotFoundError: there is no such file.
        InputError: it is no sound file, ends early, or holds no sample.
    """
    import soundfile

    with opened(path) as file:
        try:
            declared = soundfile.info(file)
            file.seek(0)
            samples, rate = soundfile.read(file, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            if error.code in FOR_FFMPEG:
                return media.sound(path)
            raise InputError(f"{named(path)} is no readable sound file: {error.error_string}") from error
    check_bytes(path)
    check_seconds(named(path), len(samples) / rate, declared.frames / rate, SPARE_SECONDS)
    if len(samples) == 0:
        raise InputError(f"{named(path)} holds no sample")
    if not np.isfinite(samples).all():
        raise InputError(f"{named(path)} holds values that are not finite")
    return samples.mean(axis=1), rate


def duration(path: Any) -> float:
    """Duration in seconds, by the header of the file.

    Raises:
        FileNotFoundError: there is no such file.
        InputError: it is no sound file.
    """
    import soundfile

    with opened(path) as file:
        try:
            about = soundfile.info(file)
        except soundfile.LibsndfileError as error:
            if error.code in FOR_FFMPEG:
                return media.seconds(path, "audio")
            raise InputError(f"{named(path)} is no readable sound file: {error.error_string}") from error
    return float(about.frames / about.samplerate)


@cache
def mel_bands(sample_rate: int, n_fft: int, num_mels: int) -> np.ndarray:
    """The weight of each frequency in each band, (num_mels, n_fft // 2 + 1).

    The mel scale of Slaney's Auditory Toolbox: linear below 1 kHz (15 mel), logarithmic above (27 mel to 6.4 kHz).
    """
    per_mel, step = 200 / 3, np.log(6.4) / 27

    def to_mel(hertz: float) -> float:
        return hertz / per_mel if hertz < 1000 else 15 + float(np.log(hertz / 1000)) / step

    mels = np.linspace(0, to_mel(sample_rate / 2), num_mels + 2)
    edges = np.where(mels < 15, per_mel * mels, 1000 * np.exp(step * (mels - 15)))
    frequencies = np.fft.rfftfreq(n_fft, 1 / sample_rate)
    low, centre, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rising, falling = (frequencies - low) / (centre - low), (high - frequencies) / (high - centre)
    return np.asarray(2 / (high - low) * np.minimum(rising, falling).clip(0))


def magnitude(samples: np.ndarray, n_fft: int, hop_length: int) -> np.ndarray:
    """|STFT| of `samples` (T,), shape (n_fft // 2 + 1, 1 + T // hop_length), in single precision."""
    from scipy.fft import rfft  # twice as fast as numpy's

    padded = np.pad(samples.astype(np.float32), (n_fft // 2, n_fft - n_fft // 2))
    frames = np.lib.stride_tricks.sliding_window_view(padded, n_fft)[::hop_length]
    window = np.hanning(n_fft + 1)[:-1].astype(np.float32)
    return np.asarray(np.abs(rfft(frames * window)).T)


@cache
def resampling_filter(up: int, down: int) -> np.ndarray:
    """The filter that `scipy.signal.resample_poly` designs anew for each recording: a windowed sinc, Kaiser 5."""
    from scipy.signal import firwin

    largest = max(up, down)
    return np.asarray(firwin(20 * largest + 1, 1 / largest, window=("kaiser", 5.0)), dtype=np.float32)
