"""Whole runs of the flow, each in a process of its own, on toy graphs of shell stages."""

import re
import signal
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from flows.workspace.forkserver import FOLDER
from tests.helpers.runs import make_project, run, started

pytestmark = pytest.mark.xdist_group("flow")  # one worker, so that one server serves them all
SECONDS_TO_STOP = 15.0
GRAPH = """
stages:
  prepare: {cmd: echo $ALL_PROXY > prepared.txt, outs: [prepared.txt]}
  train:
    matrix: {method: [joint], seed: [0, 1]}
    cmd: echo progress 2/2 loss=0.25; cp prepared.txt model-${item.method}-${item.seed}.txt
    deps: [prepared.txt]
    outs: ["model-${item.method}-${item.seed}.txt"]
  report:
    cmd: >-
      mkdir -p reports && cat model-joint-0.txt model-joint-1.txt > reports/report.html
      && echo 'method accuracy' > reports/summary.txt && echo '| method |' > reports/summary.md
    deps: [model-joint-0.txt, model-joint-1.txt]
    outs: [reports/report.html]
"""

FAILURE = """
stages:
  bad:
    cmd: "mkdir -p logs; echo 'ValueError - boom' | tee logs/bad.log; echo 'log: logs/bad.log' >&2; exit 3"
    outs: [bad.txt]
  after: {cmd: cp bad.txt after.txt, deps: [bad.txt], outs: [after.txt]}
  good: {cmd: sleep 1; echo good > good.txt, outs: [good.txt]}
"""

# The grandchild tells its id.
ENDLESS = """
stages:
  endless:
    cmd: sh -c '%s sleep 600 & echo $! > pid.txt; wait; sleep 600'
    outs: [never.txt]
"""
UNWILLING = 'trap "" TERM;'

# Each is killed in its first attempt, after it has noted how far it came.
KILLED = """
stages:
  train:
    cmd: "test -e checkpoint || { echo half > checkpoint; kill -9 $$; }; cp checkpoint train.txt"
    outs: [train.txt]
  score:
    cmd: "test -e tried || { mkdir -p logs; touch tried logs/score.log; kill -9 $$; }; touch score.txt"
    outs: [score.txt]
  warmup: {cmd: echo >> wrong; exit 1, outs: [warmup.txt]}
"""

TIMED = """
stages:
  measure:
    matrix: {cell: [0, 1, 2]}
    cmd: date +%s.%N > measure-${item.cell}.txt; sleep 3; date +%s.%N >> measure-${item.cell}.txt
    outs: ["measure-${item.cell}.txt"]
  train:
    matrix: {cell: [0, 1]}
    cmd: >-
      date +%s.%N > train-${item.cell}.txt; sleep 1; date +%s.%N >> train-${item.cell}.txt;
      echo $CUDA_VISIBLE_DEVICES >> train-${item.cell}.txt
    outs: ["train-${item.cell}.txt"]
"""

ELSEWHERE = {
    "HOME": "/proc/nowhere",
    "ALL_PROXY": "socks5://127.0.0.1:1",
    "SSL_CERT_FILE": "/nowhere/ca.pem",
    "PREFECT_SERVER_API_AUTH_STRING": "admin:pw",
    "PREFECT_SERVER_API_BASE_PATH": "/elsewhere",
    "WEB_CONCURRENCY": "3",
}
"""What a user may have set for other purposes, and a home that cannot be written."""


def request(api: str, path: str, **content: Any) -> Any:
    response = httpx.post(f"{api}/{path}", json=content)
    response.raise_for_status()
    return response.json()


def task_states(api: str, flow_run: str, num_tasks: int) -> dict[str, str]:
    """The server writes task runs a second or more after they ended."""
    deadline = time.monotonic() + 15
    while True:
        tasks = request(api, "task_runs/filter", flow_runs={"id": {"any_": [flow_run]}})
        states = {task["name"]: task["state"]["name"] for task in tasks}
        if len(states) == num_tasks and not {"Pending", "Running"} & set(states.values()):
            return states
        assert time.monotonic() < deadline, states
        time.sleep(0.5)


def newest_run(api: str) -> Any:
    return request(api, "flow_runs/filter", sort="START_TIME_DESC", limit=1)[0]


@pytest.fixture(scope="module")
def first_run(home: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int, str]:
    project = make_project(tmp_path_factory.mktemp("first") / "project", GRAPH)
    (home / ".prefect").mkdir(exist_ok=True)
    (project / ".prefect").symlink_to(home / ".prefect")
    (project / "began").write_text(datetime.now(UTC).isoformat())
    status, output = run(project, **ELSEWHERE)
    (project / "ended").write_text(datetime.now(UTC).isoformat())
    return project, status, output


def test_a_run_with_its_own_server_makes_everything_and_shows_the_report(
    first_run: tuple[Path, int, str],
) -> None:
    project, status, output = first_run
    assert status == 0, output
    lines = output.splitlines()
    assert lines[0] == "stages: 4 to run, 0 up to date"
    assert (project / "prepared.txt").read_text() == "socks5://127.0.0.1:1\n", "stages have the user's network"
    assert {line.split()[2] for line in lines[1:5]} == {"prepare", "train@joint-0", "train@joint-1", "report"}
    assert lines[5:8] == ["", "method accuracy", ""]
    assert lines[8:] == [f"report: {project / 'reports/report.html'}", "Completed: 4 Completed"]
    assert max(map(len, lines[:5])) <= 80


def test_the_server_keeps_the_states_the_logs_and_the_artifacts(first_run: tuple[Path, int, str], api: str) -> None:
    began, ended = ((first_run[0] / name).read_text() for name in ("began", "ended"))
    of_time = {"after_": began, "before_": ended}  # the server knows the runs of other tests too
    report = {"name": {"any_": ["report"]}, "state": {"name": {"any_": ["Completed"]}}, "start_time": of_time}
    (task,) = request(api, "task_runs/filter", task_runs=report)
    assert list(task_states(api, task["flow_run_id"], 4).values()) == ["Completed"] * 4
    of_run = {"flow_run_id": {"any_": [task["flow_run_id"]]}}
    artifacts = request(api, "artifacts/filter", artifacts=of_run)
    shown = {artifact["key"]: (artifact["data"], artifact["description"]) for artifact in artifacts}
    assert shown["train-joint-0"] == (100.0, "loss=0.25")
    assert shown["summary"][0] == "| method |\n"
    logs = request(api, "logs/filter", logs=of_run, limit=200)
    assert [log["message"] for log in logs].count("progress 2/2 loss=0.25") == 2


def test_a_second_run_finds_all_cached(first_run: tuple[Path, int, str], api: str) -> None:
    status, output = run(first_run[0], PREFECT_API_URL=api)
    assert status == 0, output
    assert output.splitlines()[0] == "stages: 0 to run, 4 up to date"
    assert output.splitlines()[-1] == "Completed: 4 Cached"
    assert set(task_states(api, newest_run(api)["id"], 4).values()) == {"Cached"}


def test_a_failure_stops_what_needs_it_and_nothing_else(tmp_path: Path, api: str, forkservers: Path) -> None:
    project = make_project(tmp_path / "project", FAILURE)
    status, output = run(project, PREFECT_API_URL=api, **{FOLDER: str(forkservers)})
    assert status == 1, output
    assert "    ValueError - boom\n    exited with 3\n    log: logs/bad.log\n" in output
    assert output.splitlines()[-1] == "Failed: 1 Completed, 1 Failed, 1 NotReady"
    assert "Traceback" not in output and (project / "good.txt").exists()
    assert (newest := newest_run(api))["state"]["type"] == "FAILED"
    assert task_states(api, newest["id"], 3) == {"bad": "Failed", "after": "NotReady", "good": "Completed"}


@pytest.mark.nightly
def test_only_a_killed_stage_that_goes_on_from_a_checkpoint_is_tried_again(tmp_path: Path, api: str) -> None:
    project = make_project(tmp_path / "project", KILLED)
    status, output = run(project, PREFECT_API_URL=api)
    assert status == 1, output
    assert output.splitlines()[-1] == "Failed: 1 Completed, 1 Failed, 1 Killed"
    assert re.search(r"^\d/3 Killed +score\n    exited with -9\n    log: logs/score.log$", output, re.MULTILINE)
    assert task_states(api, newest_run(api)["id"], 3) == {"train": "Completed", "score": "Killed", "warmup": "Failed"}
    assert ((project / "train.txt").read_text(), (project / "wrong").read_text()) == ("half\n", "\n")


def wait_for_grandchild(project: Path) -> int:
    deadline = time.monotonic() + 60
    while not (path := project / "pid.txt").exists() or not path.read_text().strip():
        assert time.monotonic() < deadline, "the stage did not start"
        time.sleep(0.1)
    return int(path.read_text())


def output_when_stopped(process: "subprocess.Popen[str]", grandchild: int) -> list[str]:
    """The last words of a flow that has just been told to stop, after a check that nothing lives on."""
    deadline = time.monotonic() + SECONDS_TO_STOP
    while Path(f"/proc/{grandchild}").exists():
        assert time.monotonic() < deadline, "the stage was not stopped"
        time.sleep(0.1)
    output, _ = process.communicate(timeout=30)
    assert "Traceback" not in output
    return output.splitlines()


@pytest.mark.parametrize(
    ("number", "trap"), [(signal.SIGINT, ""), pytest.param(signal.SIGTERM, UNWILLING, marks=pytest.mark.nightly)]
)
def test_a_signal_stops_the_stage_and_what_it_started(tmp_path: Path, api: str, number: int, trap: str) -> None:
    project = make_project(tmp_path / "project", ENDLESS % trap)
    with started(project, PREFECT_API_URL=api) as process:
        grandchild = wait_for_grandchild(project)
        process.send_signal(number)
        assert output_when_stopped(process, grandchild)[-1].startswith("interrupted:")
    assert process.returncode == 130
    assert newest_run(api)["state"]["type"] == "CRASHED"


@pytest.mark.nightly
def test_cancelling_at_the_server_stops_the_stage(tmp_path: Path, api: str) -> None:
    project = make_project(tmp_path / "project", ENDLESS % "")
    with started(project, PREFECT_API_URL=api) as process:
        grandchild = wait_for_grandchild(project)
        request(api, f"flow_runs/{newest_run(api)['id']}/set_state", state={"type": "CANCELLING"})
        assert output_when_stopped(process, grandchild)[-1] == "Cancelled: 1 Cancelled"
    assert process.returncode == 1
    assert newest_run(api)["state"]["type"] == "CANCELLED"


@pytest.mark.nightly
def test_no_more_stages_at_a_time_than_allowed_and_one_a_gpu(tmp_path: Path, api: str) -> None:
    project = make_project(tmp_path / "project", TIMED)
    script = "from flows.graph.flow import pipeline; pipeline(max_parallel=2, gpus=['7'])"
    status, output = run(project, "-c", script, PREFECT_API_URL=api)
    assert status == 0, output
    cells = {path.stem: path.read_text().split() for path in project.glob("*-?.txt")}
    spans = {name: (float(cell[0]), float(cell[1])) for name, cell in cells.items()}
    assert largest_overlap(list(spans.values())) == 2
    assert largest_overlap([spans["train-0"], spans["train-1"]]) == 1
    assert [cells["train-0"][2], cells["train-1"][2]] == ["7", "7"]
    tags = {task["name"]: task["tags"] for task in request(api, "task_runs/filter", limit=200)}
    assert (tags["train@0"], tags["measure@0"]) == (["gpu"], [])


def largest_overlap(spans: list[tuple[float, float]]) -> int:
    return max(sum(start <= moment < end for start, end in spans) for moment, _ in spans)
