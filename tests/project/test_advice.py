"""The table of advice against gains."""

import json
from pathlib import Path

import pytest

from bss.errors import InputError
from bss.paths import HERE
from docs import advice
from docs.marked import END, begin
from tests.evaluation.advice.test_advise import seen


def test_a_study_has_its_facts_and_its_gains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [{"label": label, "difference": 0.02, "low": 0.01, "high": 0.03} for label in advice.ORDERS]
    (HERE.studies / "order-some").mkdir(parents=True)
    (HERE.studies / "order-some/table.json").write_text(json.dumps(rows))
    monkeypatch.setattr(advice, "_warmed_up", lambda name: seen())
    (row,) = advice.table(["order-some"]).splitlines()[2:]
    name, low, classes, leader, advised, *gains = row.strip("| ").split(" | ")
    assert name == "some"
    assert 20 < float(low.removesuffix(" %")) < 30
    assert float(classes.removesuffix(" %")) < 10
    assert leader == "image 2.00"
    assert advised == "matched"
    assert gains == ["+2.0 [+1.0, +3.0]"] * len(advice.ORDERS)
    text = f"before\n{begin(advice.COMMAND)}\nold\n{END}\nafter\n"
    made = advice.written(text, ["order-some"])
    assert advice.written(made, ["order-some"]) == made
    assert "old" not in made
    assert begin(advice.COMMAND) in advice.PAGE.read_text()


def test_a_study_that_was_not_run_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="order-nowhere: its workspaces are gone"):
        advice.table(["order-nowhere"])
