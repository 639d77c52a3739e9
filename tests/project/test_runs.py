"""Runs that are kept with the pages that are made of them."""

from pathlib import Path

import polars as pl
import pytest

from bss.errors import InputError
from bss.paths import Workspace
from docs import results, runs
from docs.marked import END, begin


@pytest.fixture
def studies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of results; what is kept is beside it."""
    monkeypatch.setattr(runs, "HERE", Workspace(tmp_path))
    monkeypatch.setattr(runs, "FOLDER", tmp_path / "kept")
    for name in ("order-a", "order-a-b", "damage-a-share_0", "damage-a-share_1"):
        folder = Workspace(tmp_path).studies / name
        folder.mkdir(parents=True)
        (folder / "table.md").write_text(f"| table of {name} |\n")
        (folder / "runs.csv").write_text("row,seed,accuracy\nrandom,0,0.5\nlearned,0,0.25\n")
    return Workspace(tmp_path).studies


def test_they_come_back_with_their_commit(studies: Path) -> None:
    runs.keep("order-a", "1234abc")
    assert runs.commit_of("order-a") == "1234abc"
    assert runs.table_of("order-a") == "| table of order-a |"
    [(data, found)] = runs.kept("order")
    assert data == "a"
    assert found["study"].to_list() == ["order-a"] * 2, "not those of order-a-b"
    assert found.drop("study").equals(pl.read_csv(studies / "order-a/runs.csv"))


def test_a_study_of_many_parts_is_one_file(studies: Path) -> None:
    runs.keep("damage-a", "1234abc")
    [(_, found)] = runs.kept("damage")
    assert found["study"].unique(maintain_order=True).to_list() == ["damage-a-share_0", "damage-a-share_1"]
    assert len(found) == 4


def test_what_is_not_there_is_named(studies: Path) -> None:
    with pytest.raises(InputError, match="no runs of order-c"):
        runs.keep("order-c", "1234abc")
    with pytest.raises(InputError, match=r"has no order-DATA\.csv"):
        [*runs.kept("order")]
    with pytest.raises(InputError, match=r"order-a\.csv is missing; `python -m docs\.runs order-a` keeps it"):
        runs.commit_of("order-a")


def test_a_page_has_the_tables_of_the_studies_that_it_names(studies: Path) -> None:
    for name in ("order-a", "order-a-b"):
        runs.keep(name, "1234abc")
    blocks = [f"{begin(f'{results.COMMAND} {name}')}\nold\n{END}" for name in ("order-a", "order-a-b")]
    text = results.written("First\n\n" + "\n\nbetween\n\n".join(blocks))
    assert "old" not in text
    assert "At commit 1234abc.\n\n| table of order-a |\n\n" in text.partition("between")[0]
    assert "| table of order-a-b |" in text.partition("between")[2]
    assert results.written(text) == text
