"""The embedded sample keeps what its README promises."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn.datasets import load_digits

from bss.data.datasets.digits import FOLDER, VOICES, Digits
from bss.types import Split
from tests.helpers import ROOT


@pytest.fixture(autouse=True)
def root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def pairs(**fields: float | None) -> pl.DataFrame:
    digits = Digits.model_validate({"damage": 0.0, "image_components": None, **fields})
    return digits.items(digits.locate())


def test_the_sizes_are_the_documented_ones() -> None:
    assert dict(pairs()["split"].value_counts().rows()) == {"train": 640, "validation": 240, "test": 917}


def test_every_image_is_used_exactly_once() -> None:
    expected = (load_digits().images * (255 / 16)).round().astype(np.uint8)
    assert sorted(map(bytes, pairs()["image"].to_numpy())) == sorted(map(bytes, expected))


def test_no_recording_is_used_twice_and_no_voice_is_in_two_splits() -> None:
    items = pairs()
    assert items["audio"].n_unique() == len(items)
    for split in Split:
        assert set(items.filter(split=split.value)["voice"]) == set(VOICES[split])
    assert len({voice for voices in VOICES.values() for voice in voices}) == 23


def test_both_halves_of_an_undamaged_pair_say_its_label() -> None:
    items = pairs()
    assert (items["audio"].str.extract(r"_(\d)_\d\.opus$") == items["label"]).all()
    images, labels = load_digits(return_X_y=True)
    label_of = {
        bytes((image * (255 / 16)).round().astype(np.uint8)): label
        for image, label in zip(images, labels, strict=True)
    }
    assert [label_of[bytes(image)] for image in items["image"].to_numpy()] == [int(label) for label in items["label"]]


def test_the_seed_decides_the_pairing() -> None:
    assert pairs(seed=3).equals(pairs(seed=3))
    assert not pairs(seed=3)["audio"].equals(pairs(seed=4)["audio"])


def test_the_default_damages_two_fifths_of_the_training_pairs() -> None:
    items = Digits().items(FOLDER)
    assert dict(items["damaged"].value_counts().rows()) == {"audio": 128, "image": 128, None: 1541}
    heard = items["audio"].str.extract(r"_(\d)_\d\.opus$") != items["label"]
    assert set(items.filter(heard)["damaged"]) == {"audio"}
    assert 100 < heard.sum() < 128  # a permuted recording may be one of the right class


def test_damage_loses_no_image_and_hears_no_recording_twice() -> None:
    plain, damaged = pairs(), pairs(damage=0.4)
    changed = (plain["image"].to_numpy() != damaged["image"].to_numpy()).any(axis=(1, 2))
    assert 110 < changed.sum() <= 128
    assert set(damaged.filter(pl.Series(changed))["damaged"]) == {"image"}
    assert sorted(map(bytes, plain["image"].to_numpy())) == sorted(map(bytes, damaged["image"].to_numpy()))
    assert damaged["audio"].n_unique() == 1797


def test_the_committed_sample_is_small_and_complete() -> None:
    files = [path for path in FOLDER.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 4_000_000
    assert len(list(FOLDER.glob("recordings/*.opus"))) == 23 * 10 * 8
    assert {path.suffix for path in files} == {".opus", ".md", ".sh"}


def test_outside_a_checkout_the_missing_file_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"en-us-m1_0_0\.opus is missing: run from the root"):
        Digits().locate()
