"""`bss methods`, as it is typed."""

import pytest
from typer.testing import CliRunner

from bss.__main__ import app
from bss.commands.methods import FAMILIES, _page
from bss.training.catalogue import FAMILIES as KNOWN
from bss.training.catalogue import entry
from bss.training.methods.method import METHODS


def shown(*words: str) -> str:
    done = CliRunner().invoke(app, ["methods", *words], env={"COLUMNS": "80"})
    assert done.exit_code == 0, done.output
    return done.output


def test_all_are_listed_once_in_80_columns() -> None:
    text = shown()
    listed = [line.split()[0] for line in text.splitlines() if line.startswith("  ") and not line.startswith("   ")]
    assert sorted(listed) == sorted(METHODS)
    assert max(map(len, text.splitlines())) <= 80
    assert f"{len(METHODS)} methods" in text


def test_one_is_shown_with_its_fields() -> None:
    text = shown("ogm")
    assert "OGM-GE, CVPR 2022" in text
    assert "published, released" in text
    for field in METHODS["ogm"].model_fields:
        assert f"  {field} " in text


@pytest.mark.parametrize("name", list(METHODS))
def test_words_fit_the_terminal_and_formulas_stand(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    paragraphs = _page(entry(name)).split("\n\n")
    for paragraph in paragraphs:
        if not any(line.startswith(" ") for line in paragraph.splitlines()[:1]):
            assert all(len(line) <= 80 for line in paragraph.splitlines()), paragraph


def test_a_family_alone() -> None:
    text = shown("--family", "fusion")
    assert "mmcosine" in text
    assert "ogm" not in text
    assert tuple(FAMILIES.split(", ")) == KNOWN, "the help names them"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["reconbost"], "did you mean 'reconboost'"),
        (["--family", "loses"], "did you mean 'loss'"),
        (["ogm", "--family", "loss"], "expected one of both"),
    ],
)
def test_wrong_input_is_refused(words: list[str], message: str) -> None:
    done = CliRunner().invoke(app, ["methods", *words])
    assert done.exit_code == 2
    assert message in " ".join(done.output.split())
