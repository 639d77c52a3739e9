"""Accuracies before and after: the figures of a summary and of a retraining."""

import json
from pathlib import Path

import pytest

from bss.errors import InputError
from bss.evaluation.page.words import ABSENT
from bss.paths import HERE, Cell
from flows.graph.outcome import accuracies, change
from flows.revisions import validation
from flows.revisions.change import change_table, gain

BEFORE = {"joint-random": {"0": 0.3, "1": 0.5}, "joint-gone": {"0": 0.25}}
NOW = {"joint-new": {"0": 0.75}, "joint-random": {"1": 0.5625, "2": 0.9}}


def test_every_row_is_there_with_what_it_has_and_paired_by_the_seeds_of_both() -> None:
    assert change_table(BEFORE, NOW) == [
        ("joint-new", ABSENT, "75.0", ABSENT, ABSENT),
        ("joint-random", "50.0", "56.2", "+6.2", "1"),
        ("joint-gone", "25.0", ABSENT, ABSENT, ABSENT),
    ]
    assert gain("joint-random", BEFORE, NOW) == 0.0625
    assert gain("joint-gone", BEFORE, NOW) is gain("joint-new", BEFORE, NOW) is None


def test_models_that_did_not_change_have_not_changed_when_a_seed_was_left_out() -> None:
    fewer = {"joint-random": {"1": BEFORE["joint-random"]["1"]}}
    assert change_table({"joint-random": BEFORE["joint-random"]}, fewer) == [
        ("joint-random", "50.0", "50.0", "+0.0", "1")
    ]
    assert validation.drops(BEFORE, fewer, 0.0) == []


def test_a_first_run_has_nothing_to_compare_with() -> None:
    assert change({}, NOW) == "There was none."
    assert "| joint-random | 50.0 | 56.2 | +6.2 | 1 |" in change(BEFORE, NOW)


def test_summaries_over_other_seeds_are_not_compared(tmp_path: Path) -> None:
    (summary := tmp_path / "summary.json").write_text('[{"run": "joint", "accuracy": 0.5}]')
    three, two = (accuracies(summary, seeds) for seeds in ([0, 1, 2], [1, 2]))
    assert "| joint | 50.0 | 50.0 | +0.0 | 0, 1, 2 |" in change(three, three)
    assert "| joint | 50.0 | 50.0 | - | - |" in change(three, two)


@pytest.mark.parametrize(("now", "num_drops"), [(0.90, 0), (0.89, 0), (0.8899, 1), (0.95, 0)])
def test_only_more_than_the_limit_is_too_much(now: float, num_drops: int) -> None:
    base = {"joint-random": {"0": 0.90, "7": 0.5}, "joint-gone": {"0": 0.99}}
    found = validation.drops(base, {"joint-random": {"0": now, "8": 0.1}, "joint-new": {"0": 0.1}}, max_drop=1.0)
    assert len(found) == num_drops
    assert all("validation accuracy 90.0 -> 89.0 %, 1.0 points less" in line for line in found)


@pytest.mark.parametrize(
    ("method", "seeds", "message"),
    [
        ("joint", [5, 6], "grid.seeds: 5, 6, and the base has 0, 1: none in common"),
        ("ogm", [0, 1], "the grid has the rows ogm-random, and the base joint-random, joint-gone: none in common"),
        ("joint", [1, 5], None),
    ],
)
def test_a_gate_that_could_compare_nothing_refuses(method: str, seeds: list[int], message: str | None) -> None:
    cells = [Cell(method, "random", seed) for seed in seeds]
    validation.expect_common_seeds({}, cells)  # no report, nothing to lose
    if message is None:
        validation.expect_common_seeds(BEFORE, cells)
    else:
        with pytest.raises(InputError, match=message):
            validation.expect_common_seeds(BEFORE, cells)


@pytest.mark.parametrize("report", ['{"joint": {"random": 0.96}}', "[]", "{", '{"joint": 1}'])
def test_a_report_that_does_not_say_its_seeds_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, report: str
) -> None:
    monkeypatch.chdir(tmp_path)
    HERE.validation.parent.mkdir()
    HERE.validation.write_text(report)
    with pytest.raises(InputError, match="does not say the accuracy of each seed .* run the stage report again"):
        validation.now()
    HERE.validation.write_text(json.dumps({"joint": {"random": {"0": 0.9}}}))
    assert validation.now() == {"joint-random": {"0": 0.9}}
