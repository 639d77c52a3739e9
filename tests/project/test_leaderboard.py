"""The leaderboard's tables, from made-up runs."""

import numpy as np
import polars as pl
import pytest

from bss.errors import InputError
from bss.parsing import read_mapping
from bss.training.methods.method import METHODS
from docs import leaderboard
from docs.marked import END, begin
from tests.helpers import ROOT

FOUND = {
    "one": {
        "joint · random": np.array([0.80, 0.82, 0.81]),
        "joint · learned": np.array([0.81, 0.82, 0.83]),
        "ogm · random": np.array([0.83, 0.85, 0.83]),
        "ogm · learned": np.array([0.80, 0.81, 0.80]),
        "agm · random": np.array([0.81, 0.83, 0.83]),
        "agm · learned": np.array([0.81, 0.83, 0.83]),
    }
}

COSTS = {"joint": ("1.00", "1", "1"), "ogm": ("2.00", "1.3", "1.1"), "agm": ("1.50", "1.1", "-")}


def test_samples_are_those_of_random_order_over_those_of_joint() -> None:
    numbers = {"one": {"joint": (100, 300), "ogm": (600, 600)}, "two": {"joint": (10, 10), "ogm": (10, 10)}}
    found = {
        name: pl.DataFrame(
            {"row": f"{method} · {order}", "seed": seed, "num_samples": number * (1 if order == "random" else 7)}
            for method, of_method in of_study.items()
            for order in ("random", "learned")
            for seed, number in enumerate(of_method)
        )
        for name, of_study in numbers.items()
    }
    assert leaderboard.samples_to_first(found) == {"joint": 1.0, "ogm": 2.0}
    measured = "| avdigits: an epoch of ogm / joint | 1.27 [1.1, 1.3] | 3 | - |\n"
    measured += "| avdigits: memory of ogm / joint | 0.99 | 1 | - |"
    assert leaderboard.costs_of(found, measured) == {"joint": ("1.00", "1", "1"), "ogm": ("2.00", "1.27", "0.99")}
    assert leaderboard.costs_of(found, "")["ogm"] == ("2.00", "-", "-")


def test_time_and_memory_of_every_method_are_found() -> None:
    found = {"one": pl.DataFrame({"row": f"{name} · random", "seed": 0, "num_samples": 1} for name in METHODS)}
    costs = leaderboard.costs_of(found, leaderboard.BENCHMARKS.read_text(encoding="utf-8"))
    assert [name for name, cells in costs.items() if "-" in cells[1:]] == ["unimodal"], "no competitor"


def test_the_best_comes_first_with_its_differences() -> None:
    rows = [line.strip("| ").split(" | ") for line in leaderboard.methods_table(FOUND, COSTS).splitlines()[2:]]
    assert [row[0] for row in rows] == ["ogm", "agm", "joint"]
    assert rows[0][1] == "gradient"
    assert rows[0][2] == "1.2", "first twice, and once on a par"
    assert rows[0][3:6] == ["2.00", "1.3", "1.1"]
    assert rows[0][6].startswith("+2.7 [")
    assert rows[2][6] == "81.0", "joint itself: its accuracy"
    assert rows[0][7] == rows[0][6], "of one data set"
    assert [row[8] for row in rows] == ["0.500", "0.500", "-"], "three pairs cannot give less than 0.25, here twice"


def test_over_all_is_of_every_seed_of_every_data_set_and_what_one_lacks_comes_last() -> None:
    more = {name: np.repeat(values, 4) - 0.01 for name, values in FOUND["one"].items() if not name.startswith("agm")}
    table = leaderboard.methods_table({"one": FOUND["one"], "two": more}, COSTS)
    header, _, *lines = ([cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines())
    assert header[6:] == ["one", "two", "over all", "Holm p"]
    assert [line[0] for line in lines] == ["ogm", "joint", "agm"]
    assert lines[0][8].startswith("+2.7 [")
    assert float(lines[0][9]) < 0.01, "fifteen pairs"
    assert lines[2][2] == lines[2][7] == lines[2][8] == lines[2][9] == "-"
    assert lines[2][6].startswith("+1.3 [")


def test_what_the_other_order_does_to_each_method() -> None:
    rows = [line.strip("| ").split(" | ") for line in leaderboard.orders_table(FOUND).splitlines()[2:]]
    assert [row[0] for row in rows] == ["agm", "joint", "ogm"]
    assert rows[2][1].startswith("-3.3 [")


def test_a_family_is_the_mean_of_its_methods() -> None:
    (row,) = leaderboard.families_table(FOUND).splitlines()[2:]
    assert row.startswith("| gradient (2) | +2.0 [")


def test_the_page_keeps_its_words() -> None:
    text = f"before\n\n{begin(leaderboard.COMMAND)}\nold\n{END}\nafter\n"
    made = leaderboard.written(text, FOUND, COSTS)
    assert made.startswith("before\n\n")
    assert made.endswith("\nafter\n")
    assert "old" not in made
    assert leaderboard.written(made, FOUND, COSTS) == made
    assert begin(leaderboard.COMMAND) in leaderboard.PAGE.read_text()


@pytest.mark.parametrize(
    ("page", "lacks"), [("words", "writes from here"), (f"{begin(leaderboard.COMMAND)} words", END)]
)
def test_a_page_without_the_two_lines_loses_nothing(page: str, lacks: str) -> None:
    with pytest.raises(InputError, match=f"lacks the line '.*{lacks}"):
        leaderboard.written(page, FOUND, COSTS)


def test_every_method_is_on_it_but_those_that_do_not_compete() -> None:
    listed = read_mapping(ROOT / "comparisons/leaderboard.yaml")["methods"]
    assert set(METHODS) - set(listed) == {"unimodal", "grpo", "probe"}
