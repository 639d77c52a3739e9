"""Each kind of damage does what it says to the training pairs that are drawn, and nothing to any other."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import soundfile

from bss.data.datasets._damage import Damageable, damage
from bss.data.datasets.dataset import DATASETS
from bss.data.kinds.audio import Audio
from bss.data.kinds.depth import Depth
from bss.data.kinds.features import Features
from bss.data.kinds.image import Image
from bss.data.kinds.kind import KINDS, Kind
from bss.data.kinds.sequence import Sequence
from bss.data.kinds.skeleton import Skeleton
from bss.data.kinds.text import RESERVED, Text
from bss.data.packed import PADDING, Meta, PackedSplit, open_split
from bss.data.packing.pack import pack
from bss.params import Params
from bss.parsing import checked, read_mapping
from bss.seeds import generator, integer
from bss.types import Split
from tests.helpers import ROOT

RATE, NUM_TRAIN = 8000, 40
CLASSES = ("a", "b", "c", "d")
SPLITS = ["train"] * NUM_TRAIN + ["validation"] * 8 + ["test"] * 8
SOUND = Audio(sample_rate=RATE, seconds=0.05, n_fft=64, hop_length=64, length="pad", floor=0.01)


class Trio(Damageable):
    """56 pairs of a sound in a file, a picture and a text."""

    folder: str

    @property
    def modalities(self) -> Mapping[str, Kind]:
        return {"sound": SOUND, "picture": Image(size=6, channels=1), "text": Text(length=6)}

    @property
    def classes(self) -> tuple[str, ...]:
        return CLASSES

    def locate(self) -> Path:
        return Path(self.folder)

    def items(self, root: Path) -> pl.DataFrame:
        draw = np.random.default_rng(1)
        rows = range(len(SPLITS))
        items = pl.DataFrame(
            {
                "id": [f"pair {row}" for row in rows],
                "label": [CLASSES[row % 4] for row in rows],
                "split": SPLITS,
                "sound": [f"{row}.wav" for row in rows],
                "picture": pl.Series(draw.integers(0, 256, (len(SPLITS), 6, 6)).astype(np.uint8)),
                "text": [f"number {row} of many" for row in rows],
            }
        )
        return self.damaged(items)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trio")
    for row in range(len(SPLITS)):
        soundfile.write(
            folder / f"{row}.wav", 0.1 * np.random.default_rng(row).normal(size=300), RATE, subtype="FLOAT"
        )
    return folder


def packed(folder: Path, out: Path, **fields: Any) -> tuple[dict[str, PackedSplit], pl.DataFrame]:
    pack(Trio(folder=str(folder), **fields), out)
    return {split.value: open_split(out, split) for split in Split}, pl.read_parquet(out / "train/manifest.parquet")


@pytest.fixture(scope="module")
def intact(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, PackedSplit]:
    return packed(folder, tmp_path_factory.mktemp("intact") / "packed")[0]


@pytest.mark.parametrize("kind", ["swap", "noise", "blank", "label"])
@pytest.mark.parametrize("share", [0.1, 0.6])
def test_the_drawn_share_of_the_training_pairs_changes_and_nothing_else(
    folder: Path, tmp_path: Path, intact: dict[str, PackedSplit], kind: str, share: float
) -> None:
    splits, manifest = packed(folder, tmp_path / "packed", damage=share, damage_kind=kind)
    damaged = manifest["damaged"]
    assert len(damaged) - damaged.null_count() == round(share * NUM_TRAIN)
    for name in intact["train"].arrays:
        for split in ("validation", "test"):
            np.testing.assert_array_equal(splits[split].arrays[name], intact[split].arrays[name])
        changed = (splits["train"].arrays[name] != intact["train"].arrays[name]).reshape(NUM_TRAIN, -1).any(axis=1)
        named = (damaged == name).fill_null(False).to_numpy()
        assert not changed[~named].any()
        assert kind == "swap" or changed[named].all()
    wrong = splits["train"].labels != intact["train"].labels
    assert wrong.tolist() == (damaged == "label").fill_null(False).to_list()
    assert (splits["validation"].labels == intact["validation"].labels).all()
    assert (splits["test"].labels == intact["test"].labels).all()


def test_every_kind_damages_the_same_pairs(folder: Path) -> None:
    fields = {"folder": str(folder), "damage": 0.4, "seed": 3}
    swap, noise, blank, label = (
        Trio(**fields, damage_kind=kind).items(folder)["damaged"] for kind in ("swap", "noise", "blank", "label")
    )
    assert swap.equals(noise) and swap.equals(blank)
    assert swap.is_null().equals(label.is_null())
    assert dict(swap.drop_nulls().value_counts().rows()) == {"sound": 6, "picture": 5, "text": 5}


def test_the_same_seed_gives_the_same_bytes_and_the_noise_of_a_pair_hangs_on_no_other(
    folder: Path, tmp_path: Path
) -> None:
    fields = {"first": {}, "again": {}, "more": {"damage": 1.0}, "other": {"damage": 1.0, "seed": 1}}
    for name, changes in fields.items():
        packed(folder, tmp_path / name, **{"damage": 0.3, "damage_kind": "noise", **changes})
    files = [path.relative_to(tmp_path / "first") for path in (tmp_path / "first").rglob("*") if path.is_file()]
    assert len(files) == 14
    for path in files:
        assert (tmp_path / "first" / path).read_bytes() == (tmp_path / "again" / path).read_bytes()
    sounds = {name: open_split(tmp_path / name, "train").arrays["sound"] for name in fields}
    damaged = {name: pl.read_parquet(tmp_path / name / "train/manifest.parquet")["damaged"] for name in fields}
    both = np.flatnonzero(((damaged["first"] == "sound") & (damaged["more"] == "sound")).fill_null(False))
    assert len(both) == 4
    np.testing.assert_array_equal(sounds["first"][both], sounds["more"][both])
    assert not damaged["first"].equals(damaged["other"])
    common = np.flatnonzero(((damaged["more"] == "sound") & (damaged["other"] == "sound")).fill_null(False))
    assert len(common) and (sounds["more"][common] != sounds["other"][common]).any(), "the seed decides the noise too"


def test_a_wrong_label_is_any_other_class_and_is_remembered() -> None:
    rows = 6000
    items = pl.DataFrame({"id": range(rows), "split": ["train"] * rows, "label": ["b"] * rows, "x": range(rows)})
    after = damage(items, ["x"], 0.5, 0, "label", CLASSES)
    assert after["true_label"].equals(items["label"].alias("true_label"))
    assert after["x"].equals(items["x"])
    is_wrong = after["damaged"] == "label"
    assert (after["label"] != after["true_label"]).equals(is_wrong.fill_null(False))
    counts = dict(after.filter(is_wrong)["label"].value_counts().rows())
    assert set(counts) == {"a", "c", "d"} and sum(counts.values()) == rows / 2
    assert all(abs(count - 1000) < 4 * (3000 * 2 / 9) ** 0.5 for count in counts.values())


def test_a_sound_has_noise_of_its_own_power_before_it_becomes_a_spectrogram(folder: Path) -> None:
    samples, _ = soundfile.read(folder / "0.wav", dtype="float32")
    power = sum(float(sample) ** 2 for sample in samples) / len(samples)
    noise = np.random.default_rng(5).standard_normal(len(samples))
    slow = np.array([sample + power**0.5 * each for sample, each in zip(samples, noise, strict=True)])
    noisy = SOUND.noisy(folder / "0.wav", np.random.default_rng(5))
    np.testing.assert_allclose(noisy, slow, rtol=1e-5, atol=1e-6)
    soundfile.write(folder / "noisy.wav", noisy, RATE, subtype="FLOAT")
    np.testing.assert_array_equal(SOUND.read(noisy), SOUND.read(folder / "noisy.wav"))
    assert SOUND.exhibit(noisy).content == SOUND.exhibit(folder / "noisy.wav").content
    assert SOUND.describe(noisy) == SOUND.describe(folder / "noisy.wav")
    soundfile.write(folder / "silent.wav", np.zeros(300), RATE, subtype="FLOAT")
    np.testing.assert_array_equal(SOUND.blank(), SOUND.read(folder / "silent.wav"))


@pytest.mark.parametrize("value", [np.zeros((2, 3)), np.zeros(0), np.arange(3)])
def test_an_array_that_is_no_sound_is_refused(value: np.ndarray) -> None:
    with pytest.raises(ValueError, match="an array \\(samples,\\) of floats is needed"):
        SOUND.read(value)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_picture_has_noise_of_its_own_variance_at_the_size_that_is_read(channels: int) -> None:
    kind = Image(size=(8, 6), channels=channels)
    value = np.random.default_rng(0).integers(100, 150, (16, 12, 3)).astype(np.uint8)
    pixels = kind.read(value).astype(float)
    mean = sum(pixels.flat) / pixels.size
    deviation = (sum((pixel - mean) ** 2 for pixel in pixels.flat) / pixels.size) ** 0.5
    noise = np.random.default_rng(5).standard_normal((8, 6, channels))
    slow = np.clip(np.rint(pixels.transpose(1, 2, 0) + deviation * noise), 0, 255)
    noisy = kind.noisy(value, np.random.default_rng(5))
    np.testing.assert_array_equal(kind.read(noisy).transpose(1, 2, 0), slow)
    assert not kind.blank().any()


def test_a_text_gets_as_many_words_of_the_training_texts_as_it_has() -> None:
    kind = Text(length=10).fitted(["one two three", "four five", "six"])
    kept, drawn = [], set()
    for seed in range(200):
        words = kind.noisy("Two, new three", np.random.default_rng(seed)).split()
        assert len(words) == 6
        own = [word for word in words if word in ("two", "new", "three")]
        kept.append([word for word in own if word == "new"])
        assert "two" in own and "three" in own and own.index("two") <= len(own) - 3
        drawn |= set(words) - {"new"}
    assert all(each == ["new"] for each in kept), "its own words stay, a new one too, which no training text has"
    assert drawn == set(kind.vocabulary or ()) - set(RESERVED)
    assert (kind.blank() == PADDING).all()


@pytest.mark.parametrize("resize", [False, True])
def test_each_number_of_a_sequence_has_noise_of_its_own_variance(resize: bool) -> None:
    kind = Sequence(length=2000, size=2, resize=resize)
    steps = np.random.default_rng(0).normal(size=(2000, 2)) * [1, 50] + [9, -100]
    noise = kind.read(kind.noisy(steps, np.random.default_rng(1))) - kind.read(steps)
    np.testing.assert_allclose(noise.std(axis=0), steps.std(axis=0), rtol=0.05)
    assert abs(np.corrcoef(noise[:-1, 0], noise[1:, 0])[0, 1]) < 0.1, "white"
    short = kind.noisy(steps[:10], np.random.default_rng(1))
    assert np.isnan(kind.read(short)).any() == (not resize)


@pytest.mark.parametrize("time_last", [False, True])
def test_a_body_has_noise_of_its_own_extent_and_who_is_away_stays_away(time_last: bool) -> None:
    kind = Skeleton(joints=20, length=300, people=2, time_last=time_last)
    body = np.random.default_rng(0).normal(size=(1, 300, 20, 3)) * [1, 4, 0.1] + [0, 0, 3]
    value = np.moveaxis(body, 1, -1) if time_last else body
    before, after = (kind.read(each).reshape(300, 2, 20, 3) for each in (value, kind.noisy(value, generator(0, "x"))))
    assert not after[:, 1].any()
    extent = body.std(axis=(0, 1, 2))
    np.testing.assert_allclose((after - before)[:, 0].std(axis=(0, 1)), extent, rtol=0.05)


@pytest.mark.parametrize("fields", [{}, {"num_frames": 3}, {"num_frames": 3, "time_last": True}])
def test_maps_have_noise_of_their_variance_at_the_size_that_is_read(fields: dict[str, Any]) -> None:
    kind = Depth(size=(30, 40), **fields)
    still = np.random.default_rng(0).normal(size=(60, 80)) * 10 + 1000
    value = np.stack([still] * 5, axis=-1 if kind.time_last else 0) if kind.num_frames else still
    before, after = kind.read(value).astype(float), kind.read(kind.noisy(value, generator(0, "x"))).astype(float)
    assert (after - before).std() == pytest.approx(before.std(), rel=0.1)


def test_numbers_have_noise_of_their_mean_square() -> None:
    numbers = [3.0, 4.0, 0.0, 0.0]
    noise = np.random.default_rng(5).standard_normal(4)
    expected = [number + 2.5 * each for number, each in zip(numbers, noise, strict=True)]
    np.testing.assert_allclose(Features(size=4).noisy(numbers, np.random.default_rng(5)), expected, rtol=1e-6)


@pytest.mark.parametrize("name", KINDS)
def test_the_blank_of_every_kind_is_a_sample(name: str) -> None:
    kind = KINDS.example(name)
    assert kind.blank().shape == kind.shape and kind.blank().dtype == kind.dtype


def test_a_kind_without_noise_says_so() -> None:
    with pytest.raises(ValueError, match="there is no noise for the kind video"):
        KINDS.example("video").noisy("clip.mp4", generator(0, "x"))


def damageable() -> list[str]:
    return [name for name in DATASETS if issubclass(DATASETS[name], Damageable)]


def test_the_data_sets_that_can_be_damaged_have_noise_for_every_modality() -> None:
    assert damageable() == ["avdigits", "cremad_votes", "digits", "emoji_imgtext", "utd_mhad"]
    for name in damageable():
        for kind in DATASETS.build(name).modalities.values():
            assert type(kind).noisy is not Kind.noisy


@pytest.mark.parametrize("name", damageable())
@pytest.mark.parametrize(("key", "value"), [("damage_kind", "nose"), ("damage_kind", 1), ("damage", -0.1)])
def test_a_wrong_value_is_refused_before_anything_is_read(name: str, key: str, value: object) -> None:
    raw = read_mapping(ROOT / "params.yaml") | {"preprocess": {"name": name, key: value}}
    with pytest.raises(ValueError, match=rf"preprocess\.{key}: .*{value}"):
        checked(raw, Params, Path("params.yaml"))


def test_the_words_of_noise_are_known_to_the_report(folder: Path, tmp_path: Path) -> None:
    from bss.evaluation.grid.examples import TrainingPairs, examples
    from bss.evaluation.grid.reader import with_words

    data = Trio(folder=str(folder), damage=1.0, damage_kind="noise")
    pack(data, tmp_path / "packed")
    split, manifest = (
        open_split(tmp_path / "packed", "train"),
        pl.read_parquet(tmp_path / "packed/train/manifest.parquet"),
    )
    kinds = with_words(data.modalities, Meta.read(tmp_path / "packed"))
    scores = pl.DataFrame({"seed": 0, "index": range(NUM_TRAIN), "balance_score": np.linspace(0, 1, NUM_TRAIN)})
    shown = {
        pair.id: pair for pair in examples(scores, TrainingPairs(manifest, kinds, folder, damages=data.damages), 13)
    }
    (noisy, *_) = (
        manifest.filter(pl.col("damaged") == "text").filter(pl.col("id").is_in(list(shown))).rows(named=True)
    )
    text = next(each.content for each in shown[noisy["id"]].modalities if each.modality == "text")
    assert len(text.split()) == 8 and text != noisy["text"]
    np.testing.assert_array_equal(kinds["text"].read(text), split.arrays["text"][noisy["index"]])
    seed = integer(0, f"text of {noisy['id']}")
    assert text == kinds["text"].noisy(noisy["text"], generator(seed, "noise"))


@pytest.mark.parametrize(("kind", "words"), [("blank", "blank"), ("label", "label, right is ")])
def test_the_report_shows_what_is_wrong(folder: Path, tmp_path: Path, kind: str, words: str) -> None:
    from bss.evaluation.grid.examples import TrainingPairs, examples

    data = Trio(folder=str(folder), damage=1.0, damage_kind=kind)
    pack(data, tmp_path / "packed")
    manifest = pl.read_parquet(tmp_path / "packed/train/manifest.parquet")
    scores = pl.DataFrame({"seed": 0, "index": range(NUM_TRAIN), "balance_score": np.linspace(0, 1, NUM_TRAIN)})
    for pair in examples(scores, TrainingPairs(manifest, data.modalities, folder, damages=data.damages), 3):
        row = manifest.row(by_predicate=pl.col("id") == pair.id, named=True)
        shown = {each.modality: each.content for each in pair.modalities}
        if kind == "blank":
            assert [name for name, content in shown.items() if content == words] == [row["damaged"]]
        else:
            assert pair.damage == words + row["true_label"] != words + row["class"]
