"""Sound and images become arrays of the declared shape, and what cannot be read is named."""

import io
from pathlib import Path
from typing import Any, Literal

import numpy as np
import PIL.Image
import pytest
import soundfile

from bss.data.kinds.audio import Audio
from bss.data.kinds.image import Image
from bss.data.kinds.kind import KINDS, Kind
from bss.parsing import parsed

RATE = 8000


def audio(**changes: Any) -> Audio:
    fields: dict[str, Any] = {
        "sample_rate": RATE,
        "seconds": 0.5,
        "n_fft": 160,
        "hop_length": 80,
        "length": "pad",
    }
    return Audio(**(fields | changes))


def sine(path: Path, seconds: float = 0.5, rate: int = RATE, channels: int = 1, hertz: float = 1000) -> Path:
    wave = 0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)
    soundfile.write(path, np.repeat(wave[:, None], channels, axis=1), rate)
    return path


@pytest.mark.parametrize(("rate", "channels"), [(8000, 1), (16000, 1), (22050, 2)])
def test_a_sine_is_loudest_in_its_own_frequency_at_any_rate(tmp_path: Path, rate: int, channels: int) -> None:
    spectrum = audio().read(sine(tmp_path / "a.wav", rate=rate, channels=channels))
    assert spectrum.shape == audio().shape == (1, 81, 51)
    assert spectrum.dtype == np.float16
    assert set(spectrum[0, :, 5:45].argmax(axis=0)) == {1000 * 160 // RATE}


def test_the_spectrogram_is_that_of_a_slow_fourier_transform(tmp_path: Path) -> None:
    path = tmp_path / "noise.wav"
    soundfile.write(path, 0.1 * np.random.default_rng(0).normal(size=4000), RATE)
    samples = np.pad(soundfile.read(path)[0], 80)
    time = np.arange(160)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * time / 160)
    for frame, bin_ in [(0, 3), (20, 14), (31, 40), (50, 80)]:
        wave = np.exp(-2j * np.pi * bin_ * time / 160)
        value = np.log(abs((samples[frame * 80 : frame * 80 + 160] * window * wave).sum()) + 1e-7)
        assert audio().read(path)[0, bin_, frame] == pytest.approx(value, abs=0.004)


def test_the_published_settings_give_the_published_shape() -> None:
    assert audio(sample_rate=22050, seconds=20, n_fft=512, hop_length=353).shape == (1, 257, 1250)


def test_a_short_recording_is_padded_tiled_or_refused(tmp_path: Path) -> None:
    path = sine(tmp_path / "short.wav", seconds=0.1)
    silence = np.float16(np.log(1e-7))
    assert (audio(length="pad").read(path)[..., 20:] == silence).all()
    tiled = audio(length="tile").read(path)[..., 1:-1]
    np.testing.assert_allclose(tiled[0, 20], tiled[0, 20, 0], atol=0.01)
    with pytest.raises(ValueError, match=r"short\.wav lasts 0\.100 s, 'crop' needs 0\.5"):
        audio(length="crop").read(path)


@pytest.mark.parametrize("length", ["pad", "tile", "crop"])
def test_a_long_recording_loses_its_end(tmp_path: Path, length: str) -> None:
    long, whole = sine(tmp_path / "long.wav", seconds=0.9), sine(tmp_path / "whole.wav")
    assert (audio(length=length).read(long) == audio(length=length).read(whole)).all()


def test_a_level_hides_how_loud_a_recording_was(tmp_path: Path) -> None:
    wave = np.random.default_rng(0).normal(size=4000)
    for name, loudness in [("loud", 0.2), ("soft", 0.01)]:
        soundfile.write(tmp_path / f"{name}.wav", loudness * wave, RATE, subtype="FLOAT")
    loud, soft = (audio(level=0.1).read(tmp_path / f"{name}.wav") for name in ("loud", "soft"))
    np.testing.assert_allclose(loud, soft, atol=0.02)
    assert audio().read(tmp_path / "loud.wav").mean() > audio().read(tmp_path / "soft.wav").mean() + 2


def test_silence_is_finite_at_any_level(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "silence.wav", np.zeros(4000), RATE)
    assert np.isfinite(audio(level=0.1).read(tmp_path / "silence.wav")).all()


@pytest.mark.parametrize("name", list(KINDS))
def test_a_kind_that_describes_names_its_facts(name: str) -> None:
    assert bool(KINDS[name].facts) == (KINDS[name].describe is not Kind.describe)


def test_a_recording_is_shown_whole_and_described(tmp_path: Path) -> None:
    path = sine(tmp_path / "a.wav", seconds=0.9, rate=16000)
    shown = audio().exhibit(path)
    samples, rate = soundfile.read(io.BytesIO(shown.content))
    assert (shown.media_type, rate, len(samples)) == ("audio/wav", RATE, 7200)
    assert audio().describe(path) == {"duration": pytest.approx(0.9)}


@pytest.mark.parametrize("kind", [audio(), Image(size=8)], ids=["audio", "image"])
@pytest.mark.parametrize("content", [b"", b"RIFF nothing that follows", b"\x89PNG\r\n\x1a\n torn"])
def test_a_damaged_file_is_named(tmp_path: Path, kind: Kind, content: bytes) -> None:
    path = tmp_path / "torn.bin"
    path.write_bytes(content)
    for use in (kind.read, kind.exhibit):
        with pytest.raises(ValueError, match=r"torn\.bin"):
            use(path)


@pytest.mark.parametrize("kind", [audio(), Image(size=8)], ids=["audio", "image"])
def test_a_missing_file_is_named(tmp_path: Path, kind: Kind) -> None:
    with pytest.raises(FileNotFoundError, match=r"gone\.bin"):
        kind.read(tmp_path / "gone.bin")


def test_a_recording_without_samples_is_named(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "empty.wav", np.zeros(0), RATE)
    with pytest.raises(ValueError, match=r"empty\.wav holds no sample"):
        audio().read(tmp_path / "empty.wav")


def test_an_image_keeps_its_pixels_channels_first(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (6, 4, 3)).astype(np.uint8)
    PIL.Image.fromarray(pixels).save(tmp_path / "a.png")
    kind = Image(size=(6, 4))
    for value in (tmp_path / "a.png", pixels):
        read = kind.read(value)
        assert read.shape == kind.shape == (3, 6, 4)
        assert (read == pixels.transpose(2, 0, 1)).all()


def test_an_image_is_resized_and_turned_grey() -> None:
    pixels = np.full((20, 10, 3), 200, dtype=np.uint8)
    assert (Image(size=5, channels=1).read(pixels) == np.full((1, 5, 5), 200)).all()


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparent_pixels_are_white_whatever_lies_under_them(tmp_path: Path, mode: str) -> None:
    colours = np.random.default_rng(0).integers(0, 256, (6, 6, 4)).astype(np.uint8)
    colours[..., 3] = np.repeat([[0], [128], [255]], 2, axis=0)
    picture = PIL.Image.fromarray(colours).convert("RGBA" if mode == "P" else mode)
    if mode == "P":
        picture = picture.quantize(256)
        assert picture.mode == "P"
    picture.save(tmp_path / "a.png")
    values = np.array(PIL.Image.open(tmp_path / "a.png").convert("RGBA")).astype(float)
    share = values[..., 3:] / 255
    expected = (share * values[..., :3] + (1 - share) * 255).transpose(2, 0, 1)
    read = Image(size=6).read(tmp_path / "a.png")
    np.testing.assert_allclose(read, expected, atol=1)
    assert (read[:, :2] == 255).all()
    assert (Image(size=6, channels=1).read(tmp_path / "a.png")[:, :2] == 255).all()
    shown = np.array(PIL.Image.open(io.BytesIO(Image(size=6).exhibit(tmp_path / "a.png").content)))
    assert (shown[:20] == 255).all()


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
@pytest.mark.parametrize(("channels", "converted"), [(1, "L"), (3, "RGB")])
def test_an_opaque_image_is_only_converted(
    tmp_path: Path, mode: str, channels: Literal[1, 3], converted: str
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3)).astype(np.uint8)
    picture = PIL.Image.fromarray(pixels)
    picture.convert(mode).save(tmp_path / "a.png")
    opened = PIL.Image.open(tmp_path / "a.png")
    assert opened.mode == mode
    expected = np.array(opened.convert(converted)).reshape(16, 16, channels).transpose(2, 0, 1)
    assert (Image(size=16, channels=channels).read(tmp_path / "a.png") == expected).all()


def test_a_torn_image_is_named(tmp_path: Path) -> None:
    PIL.Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64)).astype(np.uint8)).save(tmp_path / "a.png")
    (tmp_path / "torn.png").write_bytes((tmp_path / "a.png").read_bytes()[:1000])
    with pytest.raises(ValueError, match=r"torn\.png is no readable image"):
        Image(size=8).read(tmp_path / "torn.png")


@pytest.mark.parametrize("value", [np.zeros((8, 8)), np.zeros((8, 8, 4), np.uint8), np.zeros(8, np.uint8)])
def test_an_array_that_is_no_image_is_refused(value: np.ndarray) -> None:
    with pytest.raises(ValueError, match="an image is uint8"):
        Image(size=8).read(value)


@pytest.mark.parametrize(("size", "shown"), [(8, (64, 64)), (28, (84, 84)), (100, (100, 100))])
def test_a_small_image_is_shown_large_enough_to_see(size: int, shown: tuple[int, int]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (size, size)).astype(np.uint8)
    exhibit = Image(size=size, channels=1).exhibit(pixels)
    picture = PIL.Image.open(io.BytesIO(exhibit.content))
    assert (exhibit.media_type, picture.size) == ("image/png", shown)
    factor = shown[0] // size
    assert (np.array(picture)[::factor, ::factor] == pixels).all()


@pytest.mark.parametrize("fields", ["{name: image, size: [6, 4]}", "{name: depth, size: [6, 4]}"])
def test_height_and_width_are_a_list_in_params_yaml(fields: str) -> None:
    assert KINDS.build(parsed(fields)).shape[-2:] == (6, 4)


def test_a_size_of_three_numbers_is_refused() -> None:
    with pytest.raises(ValueError, match="at most 2 items"):
        KINDS.build(parsed("{name: image, size: [6, 4, 3]}"))
