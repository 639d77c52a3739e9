"""Runs that are kept with the pages that are made of them."""

from pathlib import Path

import polars as pl
import pytest

from bss.errors import InputError
from bss.paths import Workspace
from docs import runs


@pytest.fixture
def studies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of results; what is kept is beside it."""
    monkeypatch.setattr(runs, "HERE", Workspace(tmp_path))
    monkeypatch.setattr(runs, "FOLDER", tmp_path / "kept")
    for name in ("order-a", "order-a-b", "damage-a-share_0", "damage-a-share_1"):
        folder = Workspace(tmp_path).studies / name
        folder.mkdir(parents=True)
        (folder / "runs.csv").write_text("row,seed,accuracy\nrandom,0,0.5\nlearned,0,0.25\n")
    return Workspace(tmp_path).studies


def test_they_come_back_with_their_commit(studies: Path) -> None:
    runs.keep("order-a", "1234abc")
    assert runs.commit_of("order-a") == "1234abc"
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
