"""Video, mel spectrograms, series, depth and flow: against slow, obvious references, on real encoded files."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from PIL import Image as Pictures
from scipy.io import savemat
from scipy.signal import resample_poly

from bss.data.kinds.audio import Audio, decode, duration, mel_bands
from bss.data.kinds.depth import Depth
from bss.data.kinds.features import Features
from bss.data.kinds.flow import Flow
from bss.data.kinds.image import Image
from bss.data.kinds.sequence import Sequence
from bss.data.kinds.text import Text
from bss.data.kinds.video import Video
from bss.errors import InputError
from tests.helpers.media import encode

GREYS = [np.full((16, 24, 3), 12 * number, np.uint8) for number in range(20)]
"""Twenty frames, each of its own grey."""
TONE = 0.5 * np.sin(2 * np.pi * 440 * np.arange(22_050) / 22_050)


def greys(array: np.ndarray) -> list[int]:
    """Which of the frames a sample shows, by the mean of its pixels."""
    return [round(float(array[:, frame].mean()) / 12) for frame in range(array.shape[1])]


@pytest.mark.parametrize("suffix", [".mp4", ".avi", ".flv", ".mkv"])
@pytest.mark.parametrize(
    ("fields", "frames"),
    [
        ({"num_frames": 4}, [2, 7, 12, 17]),
        ({"num_frames": 3, "rule": "first"}, [0, 1, 2]),
        ({"num_frames": 4, "rule": "centre"}, [8, 9, 10, 11]),
        ({"num_frames": 2, "fps": 1}, [0, 10]),
        ({"num_frames": 4, "fps": 2}, [0, 5, 10, 15]),
        ({"num_frames": 1}, [10]),
    ],
)
def test_frames_are_taken_by_rule_and_rate(
    tmp_path: Path, suffix: str, fields: dict[str, Any], frames: list[int]
) -> None:
    path = tmp_path / f"clip{suffix}"
    encode(path, GREYS, fps=10, sound=np.tile(TONE, 2))
    kind = Video(size=(8, 12), **fields)
    array = kind.read(path)
    assert array.shape == kind.shape == (3, len(frames), 8, 12)
    assert array.dtype == kind.dtype == np.uint8
    assert greys(array) == frames
    assert kind.exhibit(path).media_type == "image/png"


def test_a_folder_of_frames_is_read_in_the_order_of_names(tmp_path: Path) -> None:
    for number, pixels in enumerate(GREYS):
        Pictures.fromarray(pixels).save(tmp_path / f"{number:03}.png")
    (tmp_path / "notes.txt").write_text("no frame")
    assert greys(Video(size=4, num_frames=4).read(tmp_path)) == [2, 7, 12, 17]
    assert greys(Video(size=4, num_frames=4, channels=1).read(tmp_path)) == [2, 7, 12, 17]
    with pytest.raises(ValueError, match="has 20 frames, 21 are needed"):
        Video(size=4, num_frames=4, min_frames=21).read(tmp_path)


def test_a_short_video_repeats_its_last_frame(tmp_path: Path) -> None:
    encode(tmp_path / "clip.mkv", GREYS[:3])
    assert greys(Video(size=4, num_frames=5).read(tmp_path / "clip.mkv")) == [0, 1, 2, 2, 2]


def test_a_frame_is_the_picture_that_was_written(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (16, 24, 3), dtype=np.uint8)
    encode(tmp_path / "clip.mkv", [pixels])
    assert (Video(size=(16, 24), num_frames=1).read(tmp_path / "clip.mkv")[:, 0].transpose(1, 2, 0) == pixels).all()


@pytest.mark.parametrize("suffix", [".mp4", ".avi", ".flv", ".mkv"])
def test_the_sound_of_a_video_is_heard(tmp_path: Path, suffix: str) -> None:
    encode(tmp_path / f"clip{suffix}", GREYS, sound=TONE)
    samples, rate = decode(tmp_path / f"clip{suffix}")
    assert rate == 22_050
    assert len(samples) == pytest.approx(22_050, abs=2500)
    spectrum = np.abs(np.fft.rfft(samples[2000:18_384]))
    assert np.fft.rfftfreq(16_384, 1 / rate)[spectrum.argmax()] == pytest.approx(440, abs=2)
    assert duration(tmp_path / f"clip{suffix}") == pytest.approx(len(samples) / rate, abs=1.1)


def test_no_picture_and_no_video_are_refused(tmp_path: Path) -> None:
    encode(tmp_path / "sound.mkv", [], sound=TONE)
    with pytest.raises(ValueError, match=r"sound.mkv has no video"):
        Video(size=4, num_frames=2).read(tmp_path / "sound.mkv")
    (tmp_path / "torn.mp4").write_bytes(b"torn" * 50)
    with pytest.raises(ValueError, match=r"torn.mp4 is no readable video"):
        Video(size=4, num_frames=2).read(tmp_path / "torn.mp4")
    with pytest.raises(FileNotFoundError, match="nowhere.mp4"):
        Video(size=4, num_frames=2).read(tmp_path / "nowhere.mp4")


def hertz_to_mel(hertz: float) -> float:
    return 3 * hertz / 200 if hertz < 1000 else 15 + 27 * np.log(hertz / 1000) / np.log(6.4)


def test_mel_bands_are_triangles_of_area_one() -> None:
    bands = mel_bands(16_000, 512, 20)
    centres = [hertz_to_mel(float(hertz)) for hertz in np.linspace(0, 8000, 200_001)]
    width = hertz_to_mel(8000.0) / 21
    for band in range(20):
        edges = [np.searchsorted(centres, (band + side) * width) * 8000 / 200_000 for side in range(3)]
        for place, weight in enumerate(bands[band]):
            hertz = place * 16_000 / 512
            rise, fall = (hertz - edges[0]) / (edges[1] - edges[0]), (edges[2] - hertz) / (edges[2] - edges[1])
            assert weight == pytest.approx(max(0, min(rise, fall)) * 2 / (edges[2] - edges[0]), rel=2e-3, abs=1e-5)


def test_a_mel_spectrogram_is_the_power_in_each_band(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", TONE, 22_050, subtype="FLOAT")
    fields: dict[str, Any] = {"sample_rate": 22_050, "seconds": 1, "n_fft": 512, "hop_length": 256, "length": "pad"}
    plain = np.exp(Audio(**fields, floor=1e-9).read(tmp_path / "a.wav").astype(np.float64))[0]
    kind = Audio(**fields, num_mels=40, floor=1e-3)
    mel = kind.read(tmp_path / "a.wav")
    assert mel.shape == kind.shape == (1, 40, 87)
    expected = np.log(mel_bands(22_050, 512, 40) @ plain**2 + 1e-3)
    assert mel[0].astype(np.float64) == pytest.approx(expected, abs=0.05)


def test_a_series_is_padded_with_nan_and_cut() -> None:
    kind = Sequence(length=3, size=2)
    assert kind.read([[1, 2]]).tolist()[0] == [1, 2]
    assert np.isnan(kind.read([[1, 2]])[1:]).all()
    assert kind.read(np.arange(10).reshape(5, 2)).tolist() == [[0, 1], [2, 3], [4, 5]]
    for value in ([], [[1]], [1, 2], [["a", "b"]]):
        with pytest.raises(ValueError, match="steps of 2 numbers are needed"):
            kind.read(value)
    with pytest.raises(ValueError, match="number 1 of step 1 is nan"):
        kind.read([[1, 2], [3, np.nan]])


def test_depth_is_read_from_arrays_and_pictures_of_16_bits(tmp_path: Path) -> None:
    metres = np.arange(24, dtype=np.uint16).reshape(4, 6) * 1000
    np.save(tmp_path / "depth.npy", metres)
    Pictures.fromarray(metres).save(tmp_path / "depth.png")
    kind = Depth(size=(4, 6))
    for name in ("depth.npy", "depth.png"):
        assert kind.read(tmp_path / name).tolist() == [metres.astype(np.float16).tolist()]
    assert Depth(size=(2, 3)).read(tmp_path / "depth.npy").shape == (1, 2, 3)
    with pytest.raises(ValueError, match=r"an array \(H, W, 1\) is needed, got the shape \(2, 4, 6\)"):
        kind.read(np.zeros((2, 4, 6)))


def test_flow_has_two_channels_and_maybe_frames() -> None:
    one = np.random.default_rng(0).normal(size=(5, 4, 6, 2))
    still = Flow(size=(4, 6)).read(one[0])
    assert still == pytest.approx(one[0].transpose(2, 0, 1).astype(np.float16))
    moving = Flow(size=(4, 6), num_frames=2).read(one)
    assert moving == pytest.approx(one[[1, 3]].transpose(3, 0, 1, 2).astype(np.float16))
    assert Flow(size=(4, 6), num_frames=7).read(one)[0, :, 0, 0] == pytest.approx(
        one[[0, 1, 2, 3, 4, 4, 4], 0, 0, 0].astype(np.float16)
    )
    with pytest.raises(ValueError, match="not finite as a float16"):
        Flow(size=(4, 6)).read(one[0] * 1e6)


def test_features_and_texts_may_lie_in_files(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([1.0, 2.0]))
    assert Features(size=2).read(tmp_path / "a.npy").tolist() == [1, 2]
    np.save(tmp_path / "b.npy", np.array([{"a": 1}]), allow_pickle=True)
    with pytest.raises(ValueError, match=r"b.npy is no readable array"):
        Features(size=1).read(tmp_path / "b.npy")
    (tmp_path / "a.txt").write_text("cat and dog", encoding="utf-8")
    (tmp_path / "b.txt").write_bytes("café".encode("latin-1"))
    kind = Text(length=3, from_files=True).fitted([tmp_path / "a.txt", tmp_path / "b.txt"])
    assert kind.read(tmp_path / "a.txt").tolist() == [3, 2, 4]
    with pytest.raises(ValueError, match=r"b.txt is not UTF-8: byte 3 is 0xe9"):
        kind.read(tmp_path / "b.txt")


def test_pictures_and_sounds_that_tell_nothing_are_known() -> None:
    assert Image(size=2).is_constant(np.full((3, 2, 2), [[[9]], [[8]], [[7]]], np.uint8))
    assert not Image(size=2).is_constant(np.arange(12, dtype=np.uint8).reshape(3, 2, 2))
    assert not Features(size=2).constant


def test_resampling_is_scipys_own(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", TONE, 22_050, subtype="FLOAT")
    kind = Audio(sample_rate=16_000, seconds=1, n_fft=512, hop_length=256, length="pad")
    assert kind._samples(tmp_path / "a.wav") == pytest.approx(resample_poly(TONE, 320, 441), abs=1e-5)


def test_a_resized_sequence_is_neither_cut_nor_padded() -> None:
    kind = Sequence(length=3, size=2, resize=True)
    assert kind.read([[0, 6], [1, 6], [2, 6], [3, 6], [4, 6], [5, 6]]).tolist() == [[0.5, 6], [2.5, 6], [4.5, 6]]
    assert kind.read([[1, 2]]).tolist() == [[1, 2]] * 3
    assert (kind.encoder, Sequence(length=3).encoder) == ("small_cnn", "gru")
    with pytest.raises(ValueError, match="number 1 of step 3 is nan"):
        kind.read([[1, 2], [1, 2], [1, 2], [3, np.nan], [1, 2]])


@pytest.mark.parametrize("compressed", [False, True])
def test_arrays_of_matlab_are_read_where_those_of_numpy_are(tmp_path: Path, compressed: bool) -> None:
    draw = np.random.default_rng(0)
    steps, maps, flow = draw.normal(size=(9, 2)), draw.integers(0, 4000, (7, 4, 6)), draw.normal(size=(7, 4, 6, 2))
    files = {"steps": steps, "maps": np.moveaxis(maps, 0, -1).astype(np.uint16), "flow": np.moveaxis(flow, 0, -1)}
    for name, values in files.items():
        # As scipy names it, so that what is in the file decides and not its name.
        savemat(tmp_path / f"{name}.data", {"d": values}, appendmat=False, do_compression=compressed)
    sequence = Sequence(length=4, size=2)
    assert (sequence.read(tmp_path / "steps.data") == sequence.read(steps)).all()
    first, last = ({"size": (4, 6), "num_frames": 3, "time_last": value} for value in (False, True))
    assert (Depth(**last).read(tmp_path / "maps.data") == Depth(**first).read(maps)).all()
    assert (Flow(**last).read(tmp_path / "flow.data") == Flow(**first).read(flow)).all()
    assert Depth(**last).exhibit(tmp_path / "maps.data") == Depth(**first).exhibit(maps)
    with pytest.raises(ValueError, match=r"an array \(H, W, 1, T\) is needed, got the shape \(4, 6\)"):
        Depth(**last).read(maps[0])
    with pytest.raises(ValueError, match="time_last is of maps in a row"):
        Depth(size=4, time_last=True)


def test_a_file_of_matlab_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    kind = Sequence(length=4, size=2)
    savemat(tmp_path / "two.mat", {"first": np.ones((3, 2)), "second": np.ones((3, 2))})
    savemat(tmp_path / "whole.mat", {"d": np.ones((300, 2))}, do_compression=True)
    whole = (tmp_path / "whole.mat").read_bytes()
    (tmp_path / "torn.mat").write_bytes(whole[:-20])
    (tmp_path / "head.mat").write_bytes(whole[:60])
    (tmp_path / "new.mat").write_bytes(b"MATLAB 7.3 MAT-file" + bytes(200))
    savemat(tmp_path / "struct.mat", {"d": {"a": 1}})
    for name, message in {
        "two": r"two\.mat holds 2 arrays \(first, second\), and one is needed",
        "torn": r"torn\.mat is no readable MATLAB file",
        "head": r"head\.mat is no readable MATLAB file",
        "new": r"new\.mat is of MATLAB 7\.3, which is not read: save it with -v7",
        "struct": "steps of 2 numbers are needed",
    }.items():
        with pytest.raises(InputError, match=message):
            kind.read(tmp_path / f"{name}.mat")
    with pytest.raises(FileNotFoundError):
        kind.read(tmp_path / "gone.mat")
