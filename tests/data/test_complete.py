"""Media files by what is in them: half downloads, misleading names, turned videos."""

import shutil
from contextlib import nullcontext
from pathlib import Path

import av
import numpy as np
import PIL.Image
import pytest
import soundfile

from bss.data.kinds._complete import check_bytes
from bss.data.kinds.audio import Audio, decode, duration, magnitude
from bss.data.kinds.depth import Depth
from bss.data.kinds.video import Video
from bss.errors import InputError
from tests.helpers.media import encode, tone, write_video

SOUNDS = {
    ".wav": {}, ".flac": {}, ".mp3": {}, ".aiff": {}, ".au": {}, ".caf": {},
    ".ogg": {"subtype": "VORBIS"}, ".opus": {"format": "OGG", "subtype": "OPUS"},
    ".rf64": {"format": "RF64"}, ".w64": {"format": "W64"}, ".voc": {"format": "VOC"}, ".nist": {"format": "NIST"},
}  # fmt: skip
CONTAINERS = (".mp4", ".avi", ".flv", ".mkv")
SOUND = Audio(sample_rate=8000, seconds=4, n_fft=64, hop_length=32, length="pad")


def sound(path: Path) -> Path:
    soundfile.write(path, tone(0, 4, 16_000), 16_000, **SOUNDS[path.suffix])
    return path


def cut(path: Path, share: float) -> Path:
    shorter = path.with_stem("cut")
    content = path.read_bytes()
    shorter.write_bytes(content[: round(len(content) * share)])
    return shorter


@pytest.mark.parametrize("suffix", SOUNDS)
@pytest.mark.parametrize("share", [0.3, 0.5, 0.9])
def test_half_a_sound_is_refused_and_the_whole_is_not(suffix: str, share: float, tmp_path: Path) -> None:
    path = sound(tmp_path / f"whole{suffix}")
    assert len(decode(path)[0]) == pytest.approx(64_000, abs=2000)
    assert duration(path) == pytest.approx(4, abs=0.1)
    with pytest.raises(InputError, match=r"cut.* (ends early: .* of .*|is no readable sound file)"):
        decode(cut(path, share))


@pytest.mark.parametrize("suffix", CONTAINERS)
@pytest.mark.parametrize("share", [0.3, 0.5, 0.8])
def test_half_a_video_is_refused_and_the_whole_is_not(suffix: str, share: float, tmp_path: Path) -> None:
    path = write_video(tmp_path / f"whole{suffix}", 0, 60, with_sound=False)
    half = cut(path, share)
    for kind in (Video(size=8, num_frames=4), Video(size=8, num_frames=4, fps=5)):
        assert kind.read(path).shape == (3, 4, 8, 8)
        with pytest.raises(InputError, match="ends early|no readable video|has no video"):
            kind.read(half)
    encode(tmp_path / f"sound{suffix}", [], sound=tone(0, 6))
    SOUND.read(tmp_path / f"sound{suffix}")
    with pytest.raises(InputError, match="ends early|no readable sound|has no audio"):
        SOUND.read(cut(tmp_path / f"sound{suffix}", share))


def test_a_file_that_lies_says_how_much_of_it_is_there(tmp_path: Path) -> None:
    path = sound(tmp_path / "whole.wav")
    with pytest.raises(InputError, match="ends early: 64,022 of 128,044 bytes"):
        check_bytes(cut(path, 0.5))
    with pytest.raises(InputError, match=r"ends early: [12]\.\d of 4\.0 s"):
        decode(cut(sound(tmp_path / "whole.mp3"), 0.5))


@pytest.mark.parametrize(
    ("suffix", "subtype"),
    [
        *((".wav", "PCM_16"), (".aiff", "PCM_24"), (".au", "ULAW")),
        *((".rf64", "PCM_16"), (".rf64", "DOUBLE"), (".w64", "PCM_16"), (".w64", "FLOAT"), (".caf", "ALAW")),
        *((".voc", "PCM_16"), (".voc", "ULAW"), (".nist", "PCM_24"), (".nist", "ULAW")),
    ],
)
def test_two_bytes_that_are_missing_are_noticed_where_the_header_tells_the_length(
    suffix: str, subtype: str, tmp_path: Path
) -> None:
    path = tmp_path / f"whole{suffix}"
    stereo = np.stack([tone(0, 1, 8000)] * (1 if suffix == ".voc" else 2), axis=1)
    soundfile.write(path, stereo, 8000, **SOUNDS[suffix] | {"subtype": subtype})
    check_bytes(path)
    (tmp_path / "cut").write_bytes(path.read_bytes()[:-2])
    with pytest.raises(InputError, match=r"cut ends early: [\d,]+ of [\d,]+ bytes"):
        check_bytes(tmp_path / "cut")


@pytest.mark.parametrize(
    ("suffix", "before", "after"),
    [
        (".caf", b"data" + (8000 + 4).to_bytes(8, "big"), b"data" + b"\xff" * 8),
        (".w64", (8000 + 24).to_bytes(8, "little"), (2**63 - 1).to_bytes(8, "little")),
        (".rf64", (8000).to_bytes(8, "little"), bytes(8)),
        (".nist", b"pcm\n", b"pcm,embedded-shorten-v2.00\n"),
        (".nist", b"sample_count -i 4000", b"database_id -s4 here"),
    ],
)
def test_a_header_that_does_not_tell_the_length_is_believed(
    suffix: str, before: bytes, after: bytes, tmp_path: Path
) -> None:
    path = tmp_path / f"piped{suffix}"
    soundfile.write(path, tone(0, 1, 4000), 4000, **SOUNDS[suffix] | {"subtype": "PCM_16"})
    content = path.read_bytes()
    assert before in content
    for whole, is_refused in ((content, True), (content.replace(before, after), False)):
        path.write_bytes(whole[:-2])
        with pytest.raises(InputError) if is_refused else nullcontext():
            check_bytes(path)


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF])
def test_a_writer_that_could_not_go_back_is_believed(size: int, tmp_path: Path) -> None:
    path = sound(tmp_path / "piped.wav")
    content = bytearray(path.read_bytes())
    place = content.index(b"data") + 4
    content[4:8] = content[place : place + 4] = size.to_bytes(4, "little")
    path.write_bytes(content)
    check_bytes(path)


def test_what_is_in_the_file_decides_how_it_is_read(tmp_path: Path) -> None:
    video = write_video(tmp_path / "film.mkv", 0, 20)
    for name in ("film.wav", "film", "film.mp3"):
        shutil.copy(video, tmp_path / name)
        assert np.array_equal(decode(tmp_path / name)[0], decode(video)[0])
        assert duration(tmp_path / name) == duration(video)
        assert np.array_equal(
            Video(size=8, num_frames=3).read(tmp_path / name), Video(size=8, num_frames=3).read(video)
        )
    wav = sound(tmp_path / "sound.wav")
    shutil.copy(wav, tmp_path / "sound.mp4")
    assert np.array_equal(decode(tmp_path / "sound.mp4")[0], decode(wav)[0])
    np.save(tmp_path / "map.npy", np.arange(64.0).reshape(8, 8))
    (tmp_path / "map.npy").rename(tmp_path / "map.png")
    assert Depth(size=8).read(tmp_path / "map.png")[0, 7, 7] == 63
    PIL.Image.fromarray(np.full((8, 8), 300, np.uint16)).save(tmp_path / "grey.png")
    (tmp_path / "grey.png").rename(tmp_path / "grey.npy")
    assert Depth(size=8).read(tmp_path / "grey.npy").max() == 300


def test_sound_in_a_container_that_libsndfile_does_not_know(tmp_path: Path) -> None:
    path = tmp_path / "voice.m4a"
    encode(tmp_path / "voice.mp4", [], sound=tone(0, 1))
    (tmp_path / "voice.mp4").rename(path)
    samples, rate = decode(path)
    assert len(samples) / rate == pytest.approx(1, abs=0.1)
    assert duration(path) == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("turn", [90, 180, 270])
def test_a_video_that_a_telephone_held_on_its_side_is_upright(turn: int, tmp_path: Path) -> None:
    """The matrix that FFmpeg's own `-display_rotation` writes into the track, set here by hand."""
    wide = [np.full((16, 32, 3), 20, np.uint8) for _ in range(3)]
    for picture in wide:
        picture[:4] = 250  # a bright edge on top
    path = tmp_path / "held.mp4"
    encode(path, wide)
    content = bytearray(path.read_bytes())
    place = content.index(b"tkhd") + 4 + 40
    matrix = {90: (0, 1, -1, 0), 180: (-1, 0, 0, -1), 270: (0, -1, 1, 0)}[turn]
    for offset, value in zip((0, 4, 12, 16), matrix, strict=True):
        content[place + offset : place + offset + 4] = (value << 16).to_bytes(4, "big", signed=True)
    path.write_bytes(content)
    with av.open(str(path)) as container:
        assert next(container.decode(video=0)).rotation % 360 == 360 - turn
    stored = np.full((16, 32), 20.0)
    stored[:4] = 250
    upright = np.rot90(stored, -turn // 90)
    seen = Video(size=upright.shape, num_frames=1, channels=1).read(path)[0, 0]
    assert np.abs(seen - upright).mean() < 25


@pytest.mark.parametrize(("n_fft", "hop_length"), [(401, 160), (63, 32), (65, 7), (64, 32), (400, 160)])
def test_the_declared_number_of_frames_is_the_computed_one(n_fft: int, hop_length: int) -> None:
    kind = Audio(sample_rate=8000, seconds=1, n_fft=n_fft, hop_length=hop_length, length="pad")
    samples = tone(0, 1, 8000)
    found = magnitude(samples, n_fft, hop_length)
    assert (1, *found.shape) == kind.shape
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)
    padded = np.pad(samples, n_fft)
    for frame in (0, 1, found.shape[1] // 2, found.shape[1] - 1):
        start = n_fft + frame * hop_length - n_fft // 2
        slow = np.abs(np.fft.rfft(padded[start : start + n_fft] * window))
        assert np.allclose(found[:, frame], slow, atol=1e-3)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_mels": 60}, "num_mels is 60, and n_fft 64 has no frequency in .* of these bands: take fewer"),
        ({"seconds": 0.00001}, "seconds is 1e-05, which is no sample at 8000 Hz"),
    ],
)
def test_settings_that_fit_no_sound_are_refused_before_any_row(settings: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Audio(**{"sample_rate": 8000, "seconds": 1.0, "n_fft": 64, "hop_length": 32, "length": "pad", **settings})
