"""Two revisions of a scratch workspace compared through git and DVC, and what the command says of wrong input."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import pytest
import typer
from typer.testing import CliRunner, Result

from flows.commands.diff import main
from tests.helpers import ROOT
from tests.helpers.workspace import Workspace

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.xdist_group("diff")  # one workspace for all
APP = typer.Typer()
APP.command()(main)
GIT = ("git", "-c", "user.name=a", "-c", "user.email=a@b")
STAGES = ("evaluate@joint-random-0", "curriculum@learned-0")


def diff(*arguments: str) -> Result:
    return CliRunner().invoke(APP, arguments)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory, forkservers: Path) -> Iterator[Workspace]:
    """Two commits: the second scores an untrained network."""
    made = Workspace(tmp_path_factory.mktemp("workspace"), forkservers)
    made.shrink()
    store = tmp_path_factory.mktemp("store")
    config = made.folder / ".dvc/config"
    settings = config.read_text().replace("[core]\n", "[core]\n    remote = store\n")
    config.write_text(f"{settings}['remote \"store\"']\n    url = {store}\n")
    for epochs in (1, 0):
        made.set(warmup__epochs=epochs)
        made.dvc("repro", *STAGES)
        made.run("git", "add", "-A")
        made.run(*GIT, "commit", "-qm", f"warm-up of {epochs}")
    made.run("git", "tag", "first", "HEAD~1")
    shutil.copytree(
        made.folder / ".dvc/cache/files", store / "files"
    )  # as `dvc push` would leave it, without its start
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(made.folder)
        yield made


def state(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Every file below a folder: when it was written, and its bytes."""
    return {str(path): (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.rglob("*") if path.is_file()}


def test_two_revisions_are_told_apart_and_nothing_is_touched(workspace: Workspace) -> None:
    before = state(workspace.folder)
    done = diff("HEAD~1", "HEAD", "--json", "--exit-code")
    assert state(workspace.folder) == before
    assert done.exit_code == 1, done.output
    found = json.loads(done.stdout)
    assert [(one["key"], one["before"], one["after"]) for one in found["params"]] == [("warmup.epochs", 1, 0)]
    assert found["data"] is None
    assert (found["missing"], found["added"], found["removed"]) == ([], [], [])
    (scores,) = found["scores"]
    assert (scores["num_common"], scores["moved"]["num_rows"], len(scores["moved"]["rows"])) == (40, 40, 10)
    assert -1 <= scores["correlation"] < 1
    (model,) = found["models"]
    now = pl.read_parquet("reports/predictions/joint-random-0/predictions.parquet").filter(output="fused")
    then = json.loads(workspace.run("git", "show", "first:reports/metrics/joint-random-0.json").stdout)
    right, flips = (now["label"] == now["prediction"]).sum(), model["flips"]["fused"]
    assert flips["num_fixed"] - flips["num_broken"] == right - round(then["outputs"]["fused"]["accuracy"] * len(now))
    assert {one["scheduler"] for one in found["sequences"]} == {"learned"}, "random is the same"


def test_a_revision_alone_is_compared_with_the_workspace(workspace: Workspace) -> None:
    done = diff("HEAD", "--exit-code")
    assert (done.exit_code, done.stdout) == (0, "HEAD -> the workspace\nnothing changed\n")
    lines = diff("first").stdout.splitlines()
    assert lines[:2] == ["first -> the workspace", "params: warmup.epochs 1 -> 0"]
    assert max(map(len, lines)) <= 80


def test_what_the_cache_lacks_is_said_with_the_way_out(workspace: Workspace) -> None:
    scores = "data/scores/0.parquet"
    lock = workspace.run("git", "show", "first:dvc.lock").stdout
    identity = lock.split(f"path: {scores}\n")[1].split("md5: ")[1].split()[0]
    (workspace.folder / ".dvc/cache/files/md5" / identity[:2] / identity[2:]).unlink()
    text = " ".join(diff("first", "HEAD").stdout.split())
    command = f"dvc fetch --all-commits {scores}"
    assert f"not compared, because first lacks it: {scores}; `{command}` brings it" in text
    assert "scores:" not in text
    assert "models: joint-random" in text
    workspace.dvc(*command.split()[1:])
    assert "scores: seed 0 rank correlation" in diff("first", "HEAD").stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["frist"], "did you mean 'first'? (known: HEAD, first, "),
        (["src"], "src is a folder without params.yaml or artifacts, and no revision"),
        (["HEAD", "--json", "--markdown"], "--json and --markdown: one of them"),
        (["HEAD", "--html", "src"], "--html src is a folder"),
    ],
)
def test_wrong_input_is_said_in_a_line(workspace: Workspace, arguments: list[str], message: str) -> None:
    done = diff(*arguments)
    assert (done.exit_code, len(done.stderr.splitlines())) == (2, 1), done.output
    assert message in done.stderr


def test_the_page_fits_and_every_drawing_has_words(workspace: Workspace, browser: "Browser") -> None:
    assert diff("first", "--html", "reports/diff.html").exit_code == 0
    first = Path("reports/diff.html").read_bytes()
    diff("first", "--html", "reports/diff.html")
    assert Path("reports/diff.html").read_bytes() == first
    for width in (1280, 390):
        page = browser.new_page(viewport={"width": width, "height": 900})
        page.goto((workspace.folder / "reports/diff.html").as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        labels = [drawing.get_attribute("aria-label") or "" for drawing in page.locator("svg").all()]
        assert [label.split(".")[0] for label in labels] == [
            "Score before and after, seed 0", "Movement by class", "Accuracy", "Flips by class",
        ]  # fmt: skip
        page.close()


def test_a_folder_outside_of_git_is_refused_or_told_how_to_be_filled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = diff("HEAD")
    assert done.exit_code == 2
    message = f"HEAD has no artifacts, and git tells of no revision in {tmp_path}: not a git repository"
    assert done.stderr.startswith(f"error: {message}")
    (tmp_path / "a").mkdir()
    (tmp_path / "a/params.yaml").write_text("train: {epochs: 3}")
    (tmp_path / "a/dvc.lock").write_text("stages: {score: {outs: [{path: data/scores/0.parquet, md5: '0'}]}}")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    text = " ".join(diff("a", "b", "--exit-code").stdout.split())
    assert text.startswith(
        "a -> b nothing changed in what could be compared not compared, because a lacks it: data/scores/0.parquet;"
    )
    assert "`dvc --cd b pull data/scores/0.parquet` brings it" in text


def test_the_command_is_quick_to_ask() -> None:
    heavy = "{'torch', 'polars', 'dvc', 'prefect', 'matplotlib'}"
    program = f"import flows.commands.diff, sys; sys.exit(str({heavy} & set(sys.modules) or ''))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stderr.strip() == ""
