"""What is packed can be read back, whole and in order, and what is wrong is named."""

import json
import pickle
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import soundfile

from bss.data.datasets.dataset import Dataset
from bss.data.kinds.audio import Audio
from bss.data.kinds.image import Image
from bss.data.kinds.kind import Kind
from bss.data.packed import Meta, PackedSplit, open_split
from bss.data.packing.check import check_splits, find_faults
from bss.data.packing.pack import pack
from bss.data.packing.scale import mean_and_std, moments
from bss.errors import InputError
from bss.types import Split

SPLITS = ["train"] * 8 + ["validation"] * 3 + ["test"] * 5


class Sounds(Dataset):
    """Sixteen pairs of a file and an array, two classes in turn; `folder` holds the files."""

    folder: str

    @property
    def modalities(self) -> Mapping[str, Kind]:
        sound = Audio(sample_rate=8000, seconds=0.1, n_fft=64, hop_length=64, length="pad")
        return {"sound": sound, "picture": Image(size=4, channels=1)}

    @property
    def classes(self) -> tuple[str, ...]:
        return ("odd", "even")

    def locate(self) -> Path:
        return Path(self.folder)

    def items(self, root: Path) -> pl.DataFrame:
        return pairs()


def pairs() -> pl.DataFrame:
    images = np.random.default_rng(0).integers(0, 256, (16, 4, 4)).astype(np.uint8)
    return pl.DataFrame(
        {
            "sound": [f"{row}.wav" for row in range(16)],
            "id": [f"pair {row}" for row in range(16)],
            "split": SPLITS,
            "label": ["odd" if row % 2 else "even" for row in range(16)],
            "picture": pl.Series(images),
            "speaker": [f"speaker {row % 3}" for row in range(16)],
        }
    ).sample(fraction=1, shuffle=True, seed=0)


@pytest.fixture
def sounds(tmp_path: Path) -> Sounds:
    for row in range(16):
        noise = np.random.default_rng(row).normal(size=500 + 20 * row)
        soundfile.write(tmp_path / f"{row}.wav", 0.1 * noise, 8000, subtype="FLOAT")
    return Sounds(folder=str(tmp_path))


@pytest.fixture
def out(sounds: Sounds, tmp_path: Path) -> Path:
    pack(sounds, tmp_path / "packed")
    return tmp_path / "packed"


@pytest.mark.parametrize("split", Split)
def test_every_row_is_read_back_in_the_order_of_the_items(sounds: Sounds, out: Path, split: Split) -> None:
    items = pairs().filter(split=split.value)
    packed = open_split(out, split)
    assert packed.ids == tuple(items["id"])
    assert packed.labels.dtype == np.int64
    assert [sounds.classes[label] for label in packed.labels] == items["label"].to_list()
    assert (packed.arrays["picture"][:, 0] == items["picture"].to_numpy()).all()
    kind = sounds.modalities["sound"]
    for row, name in enumerate(items["sound"]):
        assert (packed.arrays["sound"][row] == kind.read(sounds.locate() / name)).all()


def test_the_manifest_says_where_each_value_came_from(out: Path) -> None:
    manifest = pl.read_parquet(out / "test" / "manifest.parquet")
    items = pairs().filter(split="test")
    first = ["index", "id", "label", "class", "split", "sound", "picture", "speaker", "sound_duration"]
    assert manifest.columns == first
    assert manifest["index"].to_list() == [0, 1, 2, 3, 4]
    assert manifest["class"].equals(items["label"].alias("class"))
    for name in ("sound", "speaker"):
        assert manifest[name].equals(items[name])
    seconds = [(500 + 20 * int(name.removesuffix(".wav"))) / 8000 for name in items["sound"]]
    assert manifest["sound_duration"].to_list() == pytest.approx(seconds)


def test_the_statistics_are_those_of_the_training_split(sounds: Sounds, out: Path) -> None:
    meta = Meta.read(out)
    assert (meta.dataset, meta.classes, list(meta.modalities)) == (
        sounds.name,
        sounds.classes,
        ["sound", "picture"],
    )
    for name, modality in meta.modalities.items():
        values = open_split(out, "train").arrays[name].astype(np.float64)
        assert modality.mean == pytest.approx(values.mean(), rel=1e-12)
        assert modality.std == pytest.approx(values.std(), rel=1e-12)
        assert modality.shape == sounds.modalities[name].shape
    assert (meta.modalities["sound"].kind, meta.modalities["sound"].encoder) == ("audio", "small_cnn")


def test_moments_of_rows_make_those_of_all_that_is_there() -> None:
    values = np.random.default_rng(0).normal(5, 2, (1000, 3)).astype(np.float16)
    exact = values.astype(np.float64)
    assert mean_and_std(np.array([moments(row) for row in values])) == pytest.approx(
        (exact.mean(), exact.std()), rel=1e-12
    )
    values[::3, 1] = np.nan
    exact = values.astype(np.float64)
    found = mean_and_std(np.array([moments(row) for row in values]))
    assert found == pytest.approx((np.nanmean(exact), np.nanstd(exact)), rel=1e-12)
    assert mean_and_std(np.array([moments(row) for row in np.full((300, 2), 7, dtype=np.uint8)])) == (7.0, 1.0)
    assert mean_and_std(np.empty((0, 3))) == (0.0, 1.0)


def test_rows_are_gathered_as_writable_copies(out: Path) -> None:
    train = open_split(out, "train")
    batch = train.read(np.array([5, 0, 5]))
    assert batch["picture"].dtype == np.uint8
    assert batch["sound"].dtype == np.float16
    assert (batch["picture"] == np.asarray(train.arrays["picture"])[[5, 0, 5]]).all()
    batch["picture"][:] = 0
    assert train.arrays["picture"][5].any()
    assert len(train) == 8


def test_a_worker_process_gets_a_map_and_not_a_copy(out: Path) -> None:
    train = open_split(out, "train")
    twin: PackedSplit = pickle.loads(pickle.dumps(train))
    assert isinstance(twin.arrays["sound"], np.memmap)
    assert (twin.arrays["sound"] == train.arrays["sound"]).all()
    assert len(pickle.dumps(train)) < 1000


def test_packing_twice_gives_the_same_bytes(sounds: Sounds, out: Path) -> None:
    first = {path.relative_to(out): path.read_bytes() for path in out.rglob("*") if path.is_file()}
    pack(sounds, out)
    assert len(first) == 11
    assert first == {path.relative_to(out): path.read_bytes() for path in out.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (pl.lit("tset").alias("split"), "unknown split of .* 'tset'; did you mean 'test'"),
        (pl.lit("evn").alias("label"), "unknown label of .* 'evn'; did you mean 'even'"),
        (pl.col("split").replace("validation", "train"), "'validation' is empty"),
        (
            pl.when(pl.col("split") == "train").then(pl.lit("odd")).otherwise("label").alias("label"),
            r"no training pair of the classes \['even'\]",
        ),
    ],
)
def test_inconsistent_items_are_refused(sounds: Sounds, edit: pl.Expr, message: str) -> None:
    items, root = pairs().with_row_index("row", offset=1), sounds.locate()
    assert find_faults(items, sounds, root) == []
    check_splits(items, sounds)
    wrong = items.with_columns(edit)
    with pytest.raises(ValueError, match=message):
        find_faults(wrong, sounds, root)
        check_splits(wrong, sounds)


def test_a_split_that_skipping_empties_is_refused_with_the_reasons(sounds: Sounds, tmp_path: Path) -> None:
    validation = pairs().filter(pl.col("split") == "validation")["sound"]
    for name in validation:
        (tmp_path / name).write_bytes(b"")
    lenient = sounds.model_copy(update={"on_bad": "skip"})
    with pytest.raises(ValueError, match=r"'validation' is empty\n.* rows cannot be used\nrow .*: the file is empty"):
        pack(lenient, tmp_path / "packed")


def test_a_missing_modality_is_refused(sounds: Sounds) -> None:
    with pytest.raises(ValueError, match=r"lack the columns \['picture'\]"):
        find_faults(pairs().drop("picture").with_row_index("row", offset=1), sounds, sounds.locate())


def test_values_that_are_not_finite_are_named(sounds: Sounds, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "9.wav", np.full(800, np.nan), 8000, subtype="FLOAT")
    with pytest.raises(ValueError, match=r"\(pair 9\), 9\.wav: holds values that are not finite"):
        pack(sounds, tmp_path / "packed")


def test_a_fault_of_a_kind_is_no_bad_row(sounds: Sounds, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "pixels", lambda self, picture: np.zeros(2) + np.zeros(3))
    with pytest.raises(ValueError, match="could not be broadcast together") as raised:
        pack(sounds.model_copy(update={"on_bad": "skip"}), tmp_path / "packed")
    assert not isinstance(raised.value, InputError)


def test_a_torn_file_leaves_the_last_whole_packing(sounds: Sounds, out: Path, tmp_path: Path) -> None:
    before = (out / "meta.json").read_bytes()
    (tmp_path / "12.wav").write_bytes(b"torn")
    with pytest.raises(ValueError, match=r"\(pair 12\), 12\.wav: is no readable sound file"):
        pack(sounds, out)
    assert (out / "meta.json").read_bytes() == before
    assert len(open_split(out, "test")) == 5


@pytest.mark.parametrize("name", ["meta.json", "train/manifest.parquet", "train/sound.npy"])
def test_a_missing_packed_file_is_named(out: Path, name: str) -> None:
    (out / name).unlink()
    with pytest.raises(FileNotFoundError, match=f"{name} is missing: run preprocess"):
        open_split(out, "train")


def test_training_needs_no_test_split(out: Path) -> None:
    (out / "test").rename(out.parent / "elsewhere")
    assert len(open_split(out, "train")) + len(open_split(out, "validation")) == 11


def test_a_packed_file_that_does_not_fit_is_named(out: Path) -> None:
    np.save(out / "train" / "sound.npy", np.zeros((7, 1, 33, 13), dtype=np.float16))
    with pytest.raises(ValueError, match=r"sound\.npy has shape \(7, 1, 33, 13\), not .*\(8, 1, 33, 13\)"):
        open_split(out, "train")
    (out / "train" / "sound.npy").write_bytes(b"torn")
    with pytest.raises(ValueError, match=r"sound\.npy is damaged, run preprocess again"):
        open_split(out, "train")
    (out / "meta.json").write_text(json.dumps({"dataset": "sounds"}))
    with pytest.raises(ValueError, match=r"meta\.json is damaged"):
        Meta.read(out)
