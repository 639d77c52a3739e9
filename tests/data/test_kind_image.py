"""Pictures as they lie on disks: on their side, of 16 and 32 bits, far larger than wanted."""

from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageOps
import pytest

from bss.data.kinds.image import Image
from bss.data.kinds.video import Video
from bss.errors import InputError

ORIENTATION = 0x0112


def smooth(height: int, width: int) -> PIL.Image.Image:
    """A picture without detail below 20 pixels, and no two corners alike."""
    noise = np.random.default_rng(0).integers(0, 256, (height // 20, width // 20, 3), dtype=np.uint8)
    return PIL.Image.fromarray(noise).resize((width, height))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
def test_what_is_kept_on_its_side_is_read_and_shown_upright(orientation: int, suffix: str, tmp_path: Path) -> None:
    upright = smooth(80, 120)
    turned = {1: None, 2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}[orientation]  # what `exif_transpose` undoes
    stored = upright if turned is None else upright.transpose(PIL.Image.Transpose(turned))
    exif = PIL.Image.Exif()
    exif[ORIENTATION] = orientation
    options = {"lossless": True} if suffix == "webp" else {"quality": 95} if suffix == "jpg" else {}
    stored.save(tmp_path / f"a.{suffix}", exif=exif, **options)
    kind, wanted = Image(size=(80, 120)), np.asarray(upright).transpose(2, 0, 1)
    found = kind.read(tmp_path / f"a.{suffix}")
    tolerance = 12 if suffix == "jpg" else 0
    assert np.abs(found.astype(int) - wanted).max() <= tolerance
    (tmp_path / "frames").mkdir()
    (tmp_path / f"a.{suffix}").rename(tmp_path / f"frames/0.{'png' if suffix == 'tif' else suffix}")
    frames = Video(size=(80, 120), num_frames=1).read(tmp_path / "frames")
    assert np.abs(frames[:, 0].astype(int) - wanted).max() <= tolerance
    assert np.array_equal(np.asarray(PIL.Image.open(_file(kind, tmp_path))).shape[:2], (80, 120))


def _file(kind: Image, folder: Path) -> Path:
    (path,) = (folder / "frames").iterdir()
    shown = folder / "shown.png"
    shown.write_bytes(kind.exhibit(path).content)
    return shown


def test_16_bits_become_8_by_the_range_of_the_type(tmp_path: Path) -> None:
    values = np.array([[0, 128 * 257], [255 * 257, 1000]], dtype=np.uint16)
    PIL.Image.fromarray(values).save(tmp_path / "a.png")
    PIL.Image.fromarray(values).save(tmp_path / "a.tif")
    for path in (tmp_path / "a.png", tmp_path / "a.tif"):
        assert Image(size=2, channels=1).read(path)[0].tolist() == [[0, 128], [255, 4]]
        assert Image(size=2).read(path)[2].tolist() == [[0, 128], [255, 4]]


@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_32_bits_are_refused(dtype: type, tmp_path: Path) -> None:
    PIL.Image.fromarray(np.array([[0, 70000]], dtype=dtype)).save(tmp_path / "a.tif")
    with pytest.raises(InputError, match="32 bits a pixel has no white; save it with 8 or 16 bits"):
        Image(size=2).read(tmp_path / "a.tif")


@pytest.mark.parametrize("size", [(60, 40), 50])
def test_a_large_jpeg_is_decoded_small_and_looks_the_same(size: int | tuple[int, int], tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    smooth(480, 320).save(path, quality=90)
    kind = Image(size=size)
    with PIL.Image.open(path) as picture:
        whole = np.asarray(picture.convert("RGB").resize(kind.shape[:0:-1])).transpose(2, 0, 1)
    found = kind.read(path)
    assert np.abs(found.astype(int) - whole).max() <= 8
    assert np.abs(found.astype(int) - whole).mean() <= 1
