"""The contract of a section of the report, over every file there is, and over one that is dropped in."""

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import bss.evaluation.report as package
from bss.evaluation.grid.inputs import ReportInputs
from bss.evaluation.grid.page import section_modules, sections, write_report
from bss.evaluation.page.section import Charts, Code, Examples, Facts, Legend, Prose, Section, Table, Verdicts
from tests.evaluation.report.test_page import grid

MODULES = section_modules()
DROPPED = """
from bss.evaluation.page.section import Section, Table, Prose
PLACE = {place}
def section(inputs):
    return {made}
"""
OWN = "Section('My own', [Prose(['Of <digits>.']), Table('Mine', ('a', 'b'), [(inputs.dataset, '1')])])"


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> ReportInputs:
    return grid(tmp_path_factory.mktemp("raw"))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder whose files count as files of `evaluation/report`."""
    monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path)])
    before = {*sys.modules}
    yield tmp_path
    for name in {*sys.modules} - before:
        if name.startswith(f"{package.__name__}."):
            del sys.modules[name]
            delattr(package, name.rpartition(".")[2])


def test_every_public_file_is_a_section() -> None:
    (path,) = package.__path__
    files = {file.stem for file in Path(path).glob("*.py") if not file.name.startswith("_")}
    assert {module.__name__.rpartition(".")[2] for module in MODULES} == files
    assert len({module.PLACE for module in MODULES}) == len(MODULES), "two sections want the same place"


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__.rpartition(".")[2])
def test_a_section_is_documented_data_with_a_link(module: ModuleType, inputs: ReportInputs) -> None:
    assert module.__doc__ and module.section.__doc__
    made = module.section(inputs)
    assert isinstance(made, Section)
    assert made.anchor
    assert made.blocks
    for block in made.blocks:
        assert isinstance(block, Prose | Verdicts | Facts | Code | Legend | Charts | Table | Examples)
        if isinstance(block, Table):
            assert {len(row) for row in block.rows} <= {len(block.header)}, block.title
            assert all(isinstance(cell, str) for row in block.rows for cell in row), block.title


@pytest.mark.nightly
def test_dropping_a_file_is_enough_to_see_it_on_the_page(inputs: ReportInputs, folder: Path) -> None:
    (folder / "mine.py").write_text(DROPPED.format(place=75, made=OWN))
    (folder / "_helper.py").write_text("raise AssertionError\n")
    titles = [section.title for section in sections(inputs)]
    assert titles[titles.index("Draws") :][:3] == ["Draws", "My own", "Pacing"]
    write_report(inputs, folder / "report.html")
    page = (folder / "report.html").read_text()
    assert '<li><a href="#my-own">My own</a></li>' in page
    assert '<section id="my-own">\n  <h2>My own</h2>' in page
    assert "Of &lt;digits&gt;." in page
    assert '<th scope="row">digits</th><td>1</td>' in page


def test_a_section_with_nothing_to_show_is_left_out(inputs: ReportInputs, folder: Path) -> None:
    (folder / "mine.py").write_text(DROPPED.format(place=75, made=None))
    assert len(section_modules()) == len(MODULES) + 1
    assert len(sections(inputs)) == len(MODULES)


@pytest.mark.parametrize("text", ["PLACE = 3\n", DROPPED.format(place=None, made=None), "section = 3\nPLACE = 3\n"])
def test_a_file_that_makes_no_section_is_named(folder: Path, text: str) -> None:
    (folder / "mine.py").write_text(text)
    with pytest.raises(TypeError, match=r"mine\.py should define section\(inputs\) and its PLACE"):
        section_modules()
