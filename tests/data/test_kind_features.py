"""Numbers become float32 arrays of the declared size, and what is no such list is named."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from pydantic import ValidationError

from bss.data.kinds.features import MAX_EXHIBIT, Features
from bss.data.packed import ModalityMeta
from bss.encoders.encoder import ENCODERS
from bss.evaluation.grid.examples import TrainingPairs, examples


@pytest.mark.parametrize(
    "value", [[0.5, -2, 3], np.array([0.5, -2, 3]), np.array([0.5, -2, 3], np.float16)], ids=["list", "f64", "f16"]
)
def test_numbers_become_float32(value: Any) -> None:
    kind = Features(size=3)
    read = kind.read(value)
    assert read.shape == kind.shape == (3,)
    assert read.dtype == kind.dtype == np.float32
    assert read.tolist() == [0.5, -2, 3]


def test_the_array_is_a_copy() -> None:
    value = np.zeros(2, np.float32)
    Features(size=2).read(value)[0] = 1
    assert value.tolist() == [0, 0]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([1.0, 2.0], r"3 numbers are needed, got the shape \(2,\)"),
        ([[1.0, 2.0, 3.0]], r"got the shape \(1, 3\)"),
        (1.0, r"got the shape \(\)"),
        ([], r"got the shape \(0,\)"),
        ([[1.0], [2.0, 3.0], [4.0]], "lists of different lengths"),
        ([1.0, None, 2.0], "number 1 is missing"),
        ([1.0, "a", 2.0], "got values of type <U"),
        ([True, False, True], "got values of type bool"),
        ([1j, 2, 3], "got values of type complex"),
        ([1.0, float("nan"), 2.0], "number 1 is nan"),
        ([1.0, 2.0, float("-inf")], "number 2 is -inf"),
        ([1e300, 1.0, 2.0], r"number 0 is 1e\+300"),
    ],
)
@pytest.mark.filterwarnings("error")
def test_what_is_no_list_of_numbers_is_refused(value: Any, message: str) -> None:
    kind = Features(size=3)
    for use in (kind.read, kind.exhibit):
        with pytest.raises(ValueError, match=message):
            use(value)


@pytest.mark.parametrize("fields", [{"size": 0}, {"size": 2.0}, {"size": 2, "names": ("a",)}])
def test_a_kind_that_contradicts_itself_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Features(**fields)


def test_numbers_are_shown_with_their_names() -> None:
    assert shown(Features(size=2, names=("A", "D")), [0, 0.104]) == "A 0.00  D 0.10"
    assert shown(Features(size=2), [1.5, -1]) == "1.50  -1.00"


def test_long_lists_are_cut() -> None:
    text = shown(Features(size=300), [0.25] * 300)
    assert text.count("0.25") == MAX_EXHIBIT
    assert text.endswith("... (300 numbers)")


def test_the_report_shows_them_as_text() -> None:
    scores = pl.DataFrame({"seed": [0] * 3, "index": [0, 1, 2], "balance_score": [0.5, -0.5, 0.0]})
    votes = pl.Series(np.array([[1.0, 0.0], [0.25, 0.75], [0.5, 0.5]]))
    pairs = pl.DataFrame({"index": [0, 1, 2], "id": ["a", "b", "c"], "class": ["x", "y", "y"], "votes": votes})
    best, middle, worst = examples(scores, TrainingPairs(pairs, {"votes": Features(size=2)}, Path()), num=1)
    assert [(view.media, view.content) for view in (*best.modalities, *middle.modalities, *worst.modalities)] == [
        ("text", "1.00  0.00"),
        ("text", "0.50  0.50"),
        ("text", "0.25  0.75"),
    ]


def test_its_encoder_takes_its_shape() -> None:
    kind = Features(size=6)
    modality = ModalityMeta(kind="features", shape=kind.shape, mean=0, std=1, encoder=kind.encoder)
    assert ENCODERS.build(kind.encoder).build(modality).dim > 0


def shown(kind: Features, value: Any) -> str:
    exhibit = kind.exhibit(value)
    assert exhibit.media_type == "text/plain"
    return exhibit.content.decode().replace("\N{NO-BREAK SPACE}", " ")
