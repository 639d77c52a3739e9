"""The benchmarks in their quick form: they run, and say what they are for."""

import importlib

import pytest

from benchmarks.__main__ import NAMES
from benchmarks.figures import Figure, Unavailable, ratios


@pytest.mark.parametrize("name", NAMES)
def test_benchmark_can_be_imported(name: str) -> None:
    assert callable(importlib.import_module(f"benchmarks.{name}").measure)


@pytest.mark.nightly
@pytest.mark.parametrize("name", [name for name in NAMES if name != "pipeline"])
def test_benchmark_measures_positive_figures(name: str) -> None:
    figures = list(importlib.import_module(f"benchmarks.{name}").measure(quick=True))
    assert figures
    assert all(value >= 0 for figure in figures for value in figure.values)


def test_a_row_tells_goals_reached_and_missed() -> None:
    figures = [
        Figure("fast", [1.0, 3.0, 2.0], " s", ("at most", 2)),
        Figure("slow", [4.0], "", ("at most", 2)),
        Figure("much", [4.0], "", ("at least", 2)),
        Figure("plain", [4.0]),
    ]
    rows = [[cell.strip() for cell in figure.row.strip("|").split("|")] for figure in figures]
    assert rows == [
        ["fast", "2 s [1, 3]", "3", "at most 2 s: reached"],
        ["slow", "4", "1", "at most 2: MISSED"],
        ["much", "4", "1", "at least 2: reached"],
        ["plain", "4", "1", "-"],
    ]


def test_ratio_is_of_the_same_round() -> None:
    assert ratios([2.0, 9.0], [1.0, 3.0]) == [2.0, 3.0]


def test_gpu_benchmark_says_that_there_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = importlib.import_module("benchmarks.gpu")
    monkeypatch.setattr(gpu.torch.cuda, "is_available", lambda: False)
    with pytest.raises(Unavailable, match="no CUDA device"):
        list(gpu.measure())
