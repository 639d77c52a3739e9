"""The results in another clone: by way of a remote, and retrained by the very lines that CI runs."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from flows.pages.server import Server
from tests.helpers import ROOT
from tests.helpers.served import wait
from tests.helpers.workspace import Workspace

pytestmark = pytest.mark.xdist_group("flow")  # one worker, so that one server serves them all
PARTS = ("Makefile", "prefect.yaml", "pyproject.toml", "requirements.lock", ".ci", ".github", ".dvc/plots")
WORKFLOWS = {path.stem: yaml.safe_load(path.read_text()) for path in (ROOT / ".github/workflows").glob("*.yml")}


def lines(workflow: str, job: str) -> list[str]:
    """What a job runs."""
    return [step["run"] for step in WORKFLOWS[workflow]["jobs"][job]["steps"] if "run" in step]


def test_gitlab_runs_what_github_runs() -> None:
    gitlab = yaml.safe_load((ROOT / ".gitlab-ci.yml").read_text())
    commands = r"\.ci/\w+|make (?:gate|retrain)(?: BASE=\"\$BASE\")?"
    for workflow, job in (("ci", "test"), ("retrain", "gate"), ("retrain", "retrain")):
        theirs = " ".join(line for line in lines(workflow, job) if "gh pr" not in line)
        assert re.findall(commands, " ".join(gitlab[job]["script"])) == re.findall(commands, theirs), job


def with_environment(workspace: Workspace) -> Workspace:
    """The clone with an environment as `make` sets it up, made of links to the running one."""
    own, running = workspace.folder / ".venv", Path(sys.prefix)
    own.mkdir()
    for part in ("bin", "lib"):
        (own / part).symlink_to(running / part)
    if (running / "pyvenv.cfg").exists():
        shutil.copy(running / "pyvenv.cfg", own)
    for done in ("packages", "ready"):
        (own / done).touch()
    return workspace


def run(line: str, workspace: Workspace, environment: Mapping[str, str]) -> tuple[int, str]:
    done = subprocess.run(
        ["bash", "-e", "-c", line],
        check=False,
        cwd=workspace.folder,
        env=workspace.environment | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
    )
    return done.returncode, done.stdout


@pytest.fixture(scope="module")
def remote(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("remote")


def shared(workspace: Workspace, remote: Path) -> Workspace:
    """A workspace with all that CI has, its results committed, and their artifacts pushed to a folder."""
    for part in PARTS:
        copied = shutil.copytree if (ROOT / part).is_dir() else shutil.copy
        copied(ROOT / part, workspace.folder / part)
    workspace.dvc("remote", "add", "--default", "shared", str(remote))
    workspace.dvc("push", "--run-cache")
    for command in (
        ("config", "user.name", "n"),
        ("config", "user.email", "e"),
        ("add", "-A"),
        ("commit", "-qm", "c"),
    ):
        workspace.run("git", *command)
    return workspace


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory, remote: Path, finished: tuple[Workspace, set[str]]) -> Workspace:
    """A repository with its results."""
    return shared(finished[0].copied(tmp_path_factory.mktemp("origin") / "repository"), remote)


@pytest.fixture
def learnt(tmp_path: Path, finished: tuple[Workspace, set[str]]) -> tuple[Workspace, Path]:
    """A repository whose models have learnt something that they can lose, and its remote."""
    made = finished[0].copied(tmp_path / "repository")
    made.set(warmup__epochs=0, train__lr=0.05, train__epochs=6, curriculum__epochs=6)
    made.reproduce()
    return shared(made, tmp_path / "remote"), tmp_path / "remote"


def test_an_empty_clone_has_nothing_to_run_and_needs_no_data_to_know(origin: Workspace, tmp_path: Path) -> None:
    clone = origin.clone(tmp_path / "clone")
    assert "Running stage" not in clone.dvc("repro", "--dry", "--allow-missing")
    output = clone.run("python", "-m", "bss", "retrain", "--dry").stdout
    assert output == "gate: 0 of 14 stages have no results in dvc.lock\n"
    assert not (clone.folder / "models").exists()


@pytest.mark.parametrize("pulls", [pytest.param(False, marks=pytest.mark.nightly), True])
def test_a_second_clone_computes_nothing(origin: Workspace, tmp_path: Path, pulls: bool) -> None:
    clone = origin.clone(tmp_path / "clone")
    if pulls:
        clone.dvc("pull")
        assert (clone.folder / "models/runs/joint-random-0").is_dir()
    assert "Running stage" not in clone.dvc("repro", "--pull")
    assert (clone.folder / "reports/report.html").read_bytes() == (origin.folder / "reports/report.html").read_bytes()
    assert clone.run("git", "status", "--short").stdout == ""


def test_the_gate_names_what_dvc_would_run_and_what_follows(origin: Workspace, tmp_path: Path) -> None:
    full, empty = origin.clone(tmp_path / "full"), origin.clone(tmp_path / "empty")
    full.dvc("pull")
    for clone in (full, empty):
        clone.set(train__lr=0.01)
    # In the empty clone DVC stops with a file that is not there; the gate does not.
    would_run = re.findall(r"^Running stage '(.+)':", full.dvc("repro", "--dry", "--allow-missing"), re.MULTILINE)
    count, *stages = empty.run("python", "-m", "bss", "retrain", "--dry").stdout.splitlines()
    assert count == "gate: 8 of 14 stages have no results in dvc.lock"
    follows = {"evaluate@joint-learned-0", "evaluate@joint-random-0", "evaluate-alone@unimodal-random-0", "register"}
    assert {line.strip() for line in stages} == set(would_run) | follows
    assert set(would_run) == {
        "train@joint-learned-0",
        "train@joint-random-0",
        "train-alone@unimodal-random-0",
        "report",
    }


def test_dvc_reads_metrics_parameters_and_plots_of_any_revision(origin: Workspace, tmp_path: Path) -> None:
    clone = origin.clone(tmp_path / "clone")  # what git keeps is enough: nothing is pulled
    clone.set(train__lr=0.01)
    path = clone.folder / "reports/validation.json"
    path.write_text(path.read_text().replace("0.", "0.0", 1))
    assert "joint.learned.0" in clone.dvc("metrics", "diff", "--targets", "reports/validation.json")
    assert re.search(r"train\.lr +\S+ +0\.01\b", clone.dvc("params", "diff"))
    drawn = yaml.safe_load(clone.dvc("plots", "diff", "HEAD", "--json"))["data"]
    assert {Path(name).stem for name in drawn} == {"learning", "confusion", "pacing", "scores"}
    for [plot] in drawn.values():
        assert plot["revisions"] == ["workspace", "HEAD"]


def test_the_job_computes_nothing_where_nothing_has_changed(origin: Workspace, remote: Path, tmp_path: Path) -> None:
    clone = with_environment(origin.clone(tmp_path / "clone"))
    output = tmp_path / "output"
    for line in [*lines("retrain", "gate"), lines("retrain", "retrain")[0]]:
        status, text = run(line, clone, {"BASE": "HEAD", "DVC_REMOTE": str(remote), "GITHUB_OUTPUT": str(output)})
        assert status == 0, text
    assert set(output.read_text().split()) == {"stale=0"}
    assert not (clone.folder / "models").exists(), "not even fetched"
    assert clone.dvc("remote", "list").split() == ["shared", str(remote), "(default)"]
    assert "No run has lost" in (clone.folder / "reports/retrain.md").read_text()


@pytest.fixture
def keeps_events(tmp_path: Path) -> Iterator[str]:
    """A server that keeps events, as that of a run does not."""
    server = Server.start({}, home=tmp_path / ".prefect")
    try:
        server.wait()
        yield server.url
    finally:
        server.stop()


def reasons(api: str) -> list[str]:
    """Why retrainings have failed, as a server was told."""
    asked = {"filter": {"event": {"name": ["bss.retraining.failed"]}}}
    events = httpx.post(f"{api}/events/filter", json=asked, timeout=90).json()["events"]
    return [line for event in events for line in event["payload"]["reasons"]]


@pytest.mark.nightly
def test_the_job_fails_where_a_change_costs_too_much(
    learnt: tuple[Workspace, Path], tmp_path: Path, keeps_events: str
) -> None:
    origin, remote = learnt
    clone = with_environment(origin.clone(tmp_path / "clone"))
    clone.set(train__lr=1e-9)
    summary = tmp_path / "summary.md"
    given = {"BASE": "HEAD", "DVC_REMOTE": str(remote), "GITHUB_STEP_SUMMARY": str(summary)}
    given |= {"PREFECT_API_URL": keeps_events}
    setting_up, retraining, telling = lines("retrain", "retrain")
    assert run(setting_up, clone, given)[0] == 0
    status, text = run(retraining, clone, given)
    assert status != 0
    assert "Error 1" in text
    assert "pull: results of 6 stages are here" in text
    [line] = re.findall(r"^joint-random: .*", text, re.MULTILINE)
    assert re.fullmatch(
        r".* validation accuracy \d+\.\d -> \d+\.\d %, \d+\.\d points less; ci.max_drop allows 1", line
    )
    assert "push: the remote has all results" in text
    assert summary.read_text() == (clone.folder / "reports/retrain.md").read_text()
    assert f"- **{line}**" in summary.read_text()
    assert re.search(r"\| train\.lr +\| 0\.05 +\| 1e-09 +\|", summary.read_text())
    assert re.search(r"^- models: .*joint-random -\d+\.\d", summary.read_text(), re.MULTILINE)
    assert telling.endswith("--body-file reports/retrain.md")
    wait(lambda: line in reasons(keeps_events), 30)  # the server writes them now and then

    other = origin.clone(tmp_path / "other")  # what was computed there is found by everyone
    other.set(train__lr=1e-9)
    assert "Running stage" not in other.dvc("repro", "--pull")


def test_a_base_that_is_none_is_told(origin: Workspace) -> None:
    done = origin.run("python", "-m", "bss", "retrain", "--base", "nowhere", check=False)
    assert (done.returncode, done.stdout) == (2, "")
    message = "--base 'nowhere': no such revision; for example HEAD~1 or origin/main, fetched before"
    assert done.stderr == f"error: {message}\n"


def test_a_grid_of_other_seeds_is_refused_before_anything_runs(origin: Workspace, tmp_path: Path) -> None:
    clone = origin.clone(tmp_path / "clone")
    clone.set(grid__seeds=[3, 4])
    done = clone.run("python", "-m", "bss", "retrain", check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "error: grid.seeds: 3, 4, and the base has 0: none in common" in done.stderr


@pytest.mark.parametrize(
    ("workflow", "job"), [(name, job) for name, content in WORKFLOWS.items() for job in content["jobs"]]
)
def test_a_workflow_runs_what_there_is(workflow: str, job: str) -> None:
    content: dict[Any, Any] = WORKFLOWS[workflow]
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for line in lines(workflow, job):
        assert "${{" not in line, "text from outside never becomes part of a command"
        program, *arguments = line.split()
        if program == "make":
            assert arguments[0] in targets
        elif program != "gh":
            assert os.access(ROOT / program, os.X_OK)
    for step in content["jobs"][job]["steps"]:
        assert re.fullmatch(r"actions/[a-z-]+@v\d+", step.get("uses", "actions/none@v1"))
    assert content["permissions"] == {"contents": "read"}


def test_a_retraining_follows_every_dependency_of_the_graph() -> None:
    patterns = WORKFLOWS["retrain"][True]["push"]["paths"]  # YAML takes `on` for a truth value
    assert patterns == WORKFLOWS["retrain"][True]["pull_request"]["paths"]
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"].values()
    in_git = {dep for stage in stages for dep in stage["deps"] if dep.startswith(("src", "tasks"))}
    assert all(any(Path(dep).is_relative_to(name.removesuffix("/**")) for name in patterns) for dep in in_git)
