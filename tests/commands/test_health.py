"""What would be in the way of a run is found by trying it: by `bss doctor`, and by the run in its first second."""

import shutil
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bss.__main__ import app
from bss.errors import InputError, Unavailable
from bss.health import git_problem, obstacles
from bss.paths import HERE
from flows.commands import run
from flows.revisions import validation
from flows.revisions.snapshot import snapshot
from tests.helpers import ROOT


def git(*arguments: str) -> None:
    subprocess.run(["git", "-c", "user.name=n", "-c", "user.email=e", *arguments], check=True, capture_output=True)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project as a ZIP has it: in no git repository."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / ".dvc", ".dvc", ignore=lambda *_: {"tmp", "cache", "config.local"})
    for part in ("params.yaml", "dvc.yaml"):
        shutil.copy(ROOT / part, part)
    (tmp_path / "data").mkdir()
    (tmp_path / "data/sample").symlink_to(ROOT / "data/sample")
    return tmp_path


@pytest.fixture
def repository(here: Path) -> Path:
    git("init", "-q")
    return here


def test_a_project_without_git_is_refused_at_once_with_remedies_that_work(here: Path) -> None:
    with pytest.raises(Unavailable, match=f"{here} is in no git repository.*git init &&.*core.no_scm true"):
        run.run([], verbose=False)
    (here / ".dvc/config.local").write_text("[core]\n    no_scm = True\n")  # as `dvc config --local` writes it
    assert [*obstacles(HERE)] == []
    (here / ".dvc/config.local").unlink()
    git("init", "-q")
    git("add", "params.yaml")
    git("commit", "-qm", "start")
    assert [*obstacles(HERE)] == []


@pytest.mark.parametrize("place", [".dvc/tmp", ".dvc/cache", "reports", "models", "logs", "data"])
def test_what_cannot_be_written_is_refused_at_once(repository: Path, place: str) -> None:
    if place == "data":
        (repository / "data/sample").unlink()
        (repository / "data").rmdir()
    (repository / place).symlink_to("/proc/nowhere")  # where nobody may write, whoever runs the tests
    [obstacle] = obstacles(HERE)
    assert obstacle.startswith(f"{repository / place} cannot be written (")
    if place != "data":  # which params.yaml names, and misses first
        with pytest.raises(Unavailable, match="cannot be written"):
            run.run([], verbose=False)
    assert f"problem: {obstacle}" in CliRunner().invoke(app, ["doctor"]).output


def test_a_cache_elsewhere_is_tried_too(repository: Path) -> None:
    (repository / ".dvc/config.local").write_text("[cache]\n    dir = /proc/nowhere/cache\n")
    assert [*obstacles(HERE)] == ["/proc cannot be written (No such file or directory), and a run writes there"]
    (repository / ".dvc/config.local").write_text("[cache]\n    dir = ../../cache\n")
    assert [*obstacles(HERE)] == []


def test_dubious_ownership_is_told_as_what_it_is(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    message = "detected dubious ownership in repository .*git config --global --add safe.directory"
    assert "dubious" in (git_problem(Path()) or "")
    with pytest.raises(InputError, match=message), snapshot("HEAD~1"):
        pass
    with pytest.raises(Unavailable, match=message):
        validation.at("HEAD")
    printed = CliRunner().invoke(app, ["doctor"])
    assert (printed.exit_code, "problem: git: detected dubious ownership" in printed.output) == (1, True)


def test_the_doctor_has_dvc_say_why_it_does_not_open_a_folder(repository: Path) -> None:
    assert CliRunner().invoke(app, ["doctor"]).exit_code == 0
    (repository / ".dvc/config").write_text("[core]\n    nothing = true\n")
    printed = CliRunner().invoke(app, ["doctor"])
    assert printed.exit_code == 1
    assert "problem: DVC: config file error: extra keys not allowed" in printed.output
