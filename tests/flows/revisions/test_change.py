"""Accuracies before and after: the figures of a summary and of a retraining."""

from bss.evaluation.page.words import ABSENT
from flows.graph.outcome import change
from flows.revisions.change import change_table, gain

BEFORE = {"joint-random": 0.5, "joint-gone": 0.25}
NOW = {"joint-new": 0.75, "joint-random": 0.5625}


def test_every_row_is_there_with_what_it_has() -> None:
    assert change_table(BEFORE, NOW) == [
        ("joint-new", ABSENT, "75.0", ABSENT),
        ("joint-random", "50.0", "56.2", "+6.2"),
        ("joint-gone", "25.0", ABSENT, ABSENT),
    ]
    assert gain("joint-random", BEFORE, NOW) == 0.0625
    assert gain("joint-gone", BEFORE, NOW) is gain("joint-new", BEFORE, NOW) is None


def test_a_first_run_has_nothing_to_compare_with() -> None:
    assert change({}, NOW) == "There was none."
    assert "| joint-random | 50.0 | 56.2 | +6.2 |" in change(BEFORE, NOW)
