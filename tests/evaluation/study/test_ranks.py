"""Rows ranked over seeds and data sets."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import typer
from typer.testing import CliRunner

from bss.errors import InputError
from bss.evaluation.comparing.statistics import critical_distance
from bss.evaluation.study.ranks import Ranks, common_rows, row_accuracies, write_ranks
from flows.commands.studies import ranks

FIRST = {"joint · random": np.array([0.7, 0.8]), "aug · random": np.array([0.9, 0.8])}
SECOND = {"aug · random": np.array([0.1, 0.5, 0.3]), "joint · random": np.array([0.2, 0.4, 0.4])}


def test_mean_ranks_are_those_of_all_blocks() -> None:
    ranks = Ranks({"a": FIRST, "b": SECOND}, 0.95)
    places: dict[str, list[float]] = {row: [] for row in FIRST}
    for of_rows in (FIRST, SECOND):
        for seed in range(len(of_rows["aug · random"])):
            values = {row: of_rows[row][seed] for row in of_rows}
            for row, value in values.items():
                above = sum(other > value for other in values.values())
                ties = sum(other == value for other in values.values())
                places[row].append(above + (ties + 1) / 2)
    assert dict(zip(ranks.rows, ranks.means, strict=True)) == pytest.approx(
        {row: np.mean(found) for row, found in places.items()}
    )
    assert ranks.distance == critical_distance(2, 5, 0.95)


def test_the_page_and_the_table_name_every_row_and_data_set(tmp_path: Path) -> None:
    write_ranks(Ranks({"a": FIRST, "b": SECOND}, 0.95), "a, b", "bss ranks a b", tmp_path)
    page, table = (tmp_path / "ranks.html").read_text(), (tmp_path / "ranks.md").read_text()
    assert "over 2 or 3 seeds on each of 2 data sets" in page
    assert "Each seed on each of a and b is a block" in page
    assert "bss ranks a b" in page
    assert table.splitlines()[0] == "| row | all | a | b |"
    assert "| joint · random | 1.5 | 1.8 | 1.3 |" in table  # 7.5 / 5, 3.5 / 2, 4 / 3
    assert "Critical distance (95 %): 0.9" in table


def test_rows_that_one_data_set_lacks_are_named_and_not_ranked() -> None:
    values = np.array([0.5, 0.6])
    rows = {"joint": values, "aim": values, "ogm": values}
    found, others = common_rows({"a": rows, "b": {"joint": values, "ogm": values, "mwam": values}})
    assert [list(each) for each in found.values()] == [["joint", "ogm"]] * 2
    assert others == ["aim", "mwam"]
    with pytest.raises(InputError, match="a, b have 1 rows in common"):
        common_rows({"a": rows, "b": {"joint": values}})


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(ValueError, match="a and b do not have the same rows: mla"):
        Ranks({"a": FIRST, "b": SECOND | {"mla": np.ones(3)}}, 0.95)
    uneven = pl.DataFrame({"row": ["a", "a", "b"], "seed": [0, 1, 0], "accuracy": [0.1, 0.2, 0.3]})
    with pytest.raises(ValueError, match="not all rows were run with the same seeds"):
        row_accuracies(uneven)


def test_seeds_are_paired_whatever_their_order() -> None:
    runs = pl.DataFrame({"row": ["a", "a", "b", "b"], "seed": [1, 0, 0, 1], "accuracy": [0.2, 0.1, 0.3, 0.4]})
    assert {row: values.tolist() for row, values in row_accuracies(runs).items()} == {
        "a": [0.1, 0.2],
        "b": [0.3, 0.4],
    }


def test_the_command_reads_what_comparisons_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, accuracies in {"methods-a": [0.9, 0.5], "methods-b": [0.8, 0.7]}.items():
        (tmp_path / "reports/compare" / name).mkdir(parents=True)
        table = pl.DataFrame({"row": ["aug · random", "joint · random"], "seed": [0, 0], "accuracy": accuracies})
        table.write_csv(tmp_path / "reports/compare" / name / "runs.csv")
    app = typer.Typer()
    app.command()(ranks.main)
    done = CliRunner().invoke(app, ["methods-a", "methods-b"])
    assert done.exit_code == 0, done.output
    assert "| aug · random | 1.0 | 1.0 | 1.0 |" in done.output
    assert (tmp_path / "reports/compare/ranks.html").exists()
    wrong = CliRunner().invoke(app, ["methods-c"])
    assert wrong.exit_code == 2
    assert "unknown comparison 'methods-c'; did you mean 'methods-" in wrong.output
    (tmp_path / "reports/compare/methods-b/runs.csv").write_text("row,sed\naug,0\n")
    wrong = CliRunner().invoke(app, ["methods-a", "methods-b"])
    assert (wrong.exit_code, len(wrong.stderr.splitlines())) == (2, 1)
    assert "reports/compare/methods-b/runs.csv is damaged: " in wrong.stderr
    folds = pl.DataFrame({"row": ["aug", "joint"] * 2, "seed": 0, "fold": [0, 0, 1, 1], "accuracy": 0.5})
    folds.write_csv(tmp_path / "reports/compare/methods-b/runs.csv")
    wrong = CliRunner().invoke(app, ["methods-a", "methods-b"])
    assert wrong.exit_code == 2
    assert "is of a study with folds" in " ".join(wrong.stderr.split())
