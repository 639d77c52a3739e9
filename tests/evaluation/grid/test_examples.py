from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from bss.data.kinds.kind import Exhibit, Kind
from bss.evaluation.grid.examples import MAX_BYTES, damage, examples


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
    found = examples(SCORES, pairs, {"film": kind or Film()}, Path("root"), num)
    return [(pair.id, pair.place) for pair in found]


def test_three_places_of_the_first_seed_best_and_worst_first() -> None:
    assert shown(1) == [("b", "most"), ("e", "median"), ("c", "least")]


def test_no_pair_is_shown_twice() -> None:
    assert shown(50) == shown(1)  # of five pairs
    assert shown(0) == []


def test_media_become_data_addresses_and_the_rest_text() -> None:
    best, *_ = examples(SCORES, PAIRS, {"film": Film()}, Path("root"), 1)
    assert best.modalities[0].content == "data:image/png;base64,d3d3"  # "www": pair b
    best, *_ = examples(SCORES, PAIRS, {"film": Film(media_type="application/x")}, Path("root"), 1)
    assert (best.modalities[0].media, best.modalities[0].content) == ("text", "www")


def test_large_media_are_left_out() -> None:
    best, *_ = examples(SCORES, PAIRS, {"film": Film(num_bytes=MAX_BYTES + 1)}, Path("root"), 1)
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
        (None, ["", "", ""]),
    ],
)
def test_damage_is_a_flag_or_a_word(damaged: list[object] | None, words: list[str]) -> None:
    manifest = pl.DataFrame({"index": range(3)} | ({"damaged": damaged} if damaged else {}))
    assert damage(manifest).to_list() == words
