from base64 import b64decode
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from PIL import Image

from bss.data.datasets.manifest import Manifest
from bss.data.kinds.kind import Exhibit, Kind
from bss.data.packed import open_split
from bss.data.packing.pack import pack
from bss.evaluation.grid.examples import MAX_BYTES, TrainingPairs, damage, drawings, examples
from bss.evaluation.grid.strips import strip
from bss.evaluation.page.section import Shown


class Film(Kind):
    """Shows as many bytes as it is told; keeps what it was asked for."""

    encoder = "none"
    media_type: str = "image/png"
    num_bytes: int = 3

    @property
    def shape(self) -> tuple[int, ...]:
        return (1,)

    @property
    def dtype(self) -> type[np.generic]:
        return np.uint8

    def read(self, value: Any) -> np.ndarray:
        raise NotImplementedError

    def exhibit(self, value: Any) -> Exhibit:
        return Exhibit(self.media_type, str(value).encode()[-1:] * self.num_bytes)


SCORES = pl.DataFrame(
    {
        "seed": [1] * 5 + [0] * 5,
        "index": [0, 1, 2, 3, 4] * 2,
        "balance_score": [9.0] * 5 + [0.1, 0.5, -0.2, 0.5, 0.3],
    }
)
PAIRS = pl.DataFrame({"index": range(5), "id": list("abcde"), "class": ["cat"] * 5, "film": list("vwxyz")})


def shown(num: int, kind: Kind | None = None, pairs: pl.DataFrame = PAIRS) -> list[tuple[str, str]]:
    found = examples(SCORES, TrainingPairs(pairs, {"film": kind or Film()}, Path("root")), num)
    return [(pair.id, pair.place) for pair in found]


def test_three_places_of_the_first_seed_best_and_worst_first() -> None:
    assert shown(1) == [("b", "most"), ("e", "median"), ("c", "least")]


def test_no_pair_is_shown_twice() -> None:
    assert shown(50) == shown(1)  # of five pairs
    assert shown(0) == []


def test_media_become_data_addresses_and_the_rest_text() -> None:
    best, *_ = examples(SCORES, TrainingPairs(PAIRS, {"film": Film()}, Path("root")), 1)
    assert best.modalities[0].content == "data:image/png;base64,d3d3"  # "www": pair b
    best, *_ = examples(SCORES, TrainingPairs(PAIRS, {"film": Film(media_type="application/x")}, Path("root")), 1)
    assert (best.modalities[0].media, best.modalities[0].content) == ("text", "www")


def test_large_media_are_left_out() -> None:
    best, *_ = examples(SCORES, TrainingPairs(PAIRS, {"film": Film(num_bytes=MAX_BYTES + 1)}, Path("root")), 1)
    assert best.modalities[0].content == "left out: 0.2 MB of image/png"


def test_strings_are_paths_and_arrays_are_handed_on() -> None:
    asked: list[object] = []

    class Asking(Film):
        def exhibit(self, value: Any) -> Exhibit:
            asked.append(value)
            return Exhibit("text/plain", b"")

    arrays = np.arange(20, dtype=np.uint8).reshape(5, 2, 2)
    shown(1, Asking())
    shown(1, Asking(), PAIRS.with_columns(film=pl.Series(arrays)))
    assert asked[:3] == [Path("root/w"), Path("root/z"), Path("root/x")]
    np.testing.assert_array_equal(asked[3], arrays[1])
    np.testing.assert_array_equal(asked[5], arrays[2])


@pytest.mark.parametrize(
    ("damaged", "words"),
    [
        ([True, False, None], ["damaged", "", ""]),
        (["audio", "", None], ["audio", "", ""]),
        (["none", "image", "none"], ["", "image", ""]),
        (["true", "False", " no "], ["damaged", "", ""]),
        ([1, 0, None], ["damaged", "", ""]),
        ([1.0, 0.0, float("nan")], ["damaged", "", ""]),
        (None, ["", "", ""]),
    ],
)
def test_damage_is_a_flag_or_a_word(damaged: list[object] | None, words: list[str]) -> None:
    manifest = pl.DataFrame({"index": range(3)} | ({"damaged": damaged} if damaged else {}))
    assert damage(manifest).to_list() == words


def cells(shown: Shown) -> np.ndarray:
    """The pixels (H, W, 4) of a picture of numbers."""
    with Image.open(BytesIO(b64decode(shown.content.partition(",")[2]))) as picture:
        return np.asarray(picture)


def test_numbers_are_drawn_by_their_distance_from_the_mean() -> None:
    shown = strip("glove", [5.0, 8.0, -100.0, 6.5], mean=5.0, std=1.0)
    assert (shown.media, shown.words) == ("strip", "4 numbers, -105.0 to +3.0 standard deviations from the mean")
    (row,) = cells(shown)
    assert row[:, 3].tolist() == [0, 255, 255, 128], "the mean is clear, three deviations and more are full"
    assert (row[1, 2] > row[1, 0]) and (row[2, 0] > row[2, 2]), "above is blue, below is orange"


def test_each_number_has_the_unit_of_its_own() -> None:
    (row,) = cells(strip("glove", [1001.0, 0.001], mean=[1000.0, 0.0], std=[1.0, 0.001]))
    assert row[0].tolist() == row[1].tolist()


def test_a_sequence_is_a_map_that_ends_where_it_ends() -> None:
    steps = np.full((7, 3), np.nan)
    steps[:4] = 3
    shown = strip("camera", steps, mean=0.0, std=1.0)
    assert (shown.media, shown.words.partition(",")[0]) == ("map", "12 numbers")
    drawn = cells(shown)
    assert drawn.shape == (3, 7, 4), "a row a number, time to the right"
    assert (drawn[:, :4, 3] == 255).all() and (drawn[:, 4:, 3] == 0).all()


@pytest.mark.parametrize("shape", [(5000,), (3000, 300)])
def test_of_many_numbers_neighbours_are_averaged(shape: tuple[int, ...]) -> None:
    numbers = np.ones(shape)
    numbers[: shape[0] // 2] = -1
    drawn = cells(strip("glove", numbers, mean=0.0, std=1.0))
    assert drawn.shape[:2] == (min(64, shape[1] if len(shape) > 1 else 1), 256)
    assert (drawn[..., 3] == 85).all()
    assert (drawn[:, :128] == drawn[0, 0]).all() and (drawn[:, 128:] == drawn[0, -1]).all()


def test_a_few_numbers_are_words_and_many_are_drawn(tmp_path: Path) -> None:
    table = {"id": [f"{row}" for row in range(30)], "label": ["a", "b"] * 15}
    numbers = np.random.default_rng(0).normal(size=(30, 12))
    columns = {"few": [f"x{place}" for place in range(2)], "many": [f"x{place}" for place in range(12)]}
    values = {f"x{place}": numbers[:, place] for place in range(12)}
    pl.DataFrame({**table, **values}).write_csv(tmp_path / "pairs.csv")
    kinds = {"few": {"name": "features", "size": 2}, "many": {"name": "features", "size": 12}}
    data = Manifest(file=str(tmp_path / "pairs.csv"), kinds=kinds, columns=columns)
    pack(data, tmp_path / "packed")
    split = open_split(tmp_path / "packed", "train")
    pairs = pl.read_parquet(tmp_path / "packed/train/manifest.parquet")
    scores = pl.DataFrame({"seed": 0, "index": range(len(split)), "balance_score": range(len(split))})
    best, *_ = examples(scores, TrainingPairs(pairs, data.modalities, tmp_path, drawings(split, data.modalities)), 1)
    few, many = best.modalities
    assert (few.media, many.media) == ("text", "strip")
    about = split.meta.modalities["many"]
    assert many == strip("many", split.arrays["many"][len(split) - 1], about.mean, about.std)
