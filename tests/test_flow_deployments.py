"""Deployments as `make ui` serves them: a server, a worker, and a project of shell stages."""

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.runs import ROOT, make_project, started

pytestmark = pytest.mark.xdist_group("ui")
SECONDS_TO_STOP = 15.0
# `slow` lasts as long as a file says, and tells the id of what it started.
GRAPH = """
stages:
  prepare: {cmd: echo prepared > prepared.txt, outs: [prepared.txt], params: [train.epochs]}
  train:
    matrix: {method: [joint], seed: [0, 1]}
    cmd: echo progress 2/2 train_loss=0.25 validation_accuracy=0.9; cp prepared.txt model-${item.method}-${item.seed}.txt
    deps: [prepared.txt]
    outs: ["model-${item.method}-${item.seed}.txt"]
  report:
    cmd: >-
      mkdir -p reports && cat model-joint-0.txt > reports/report.html && echo '| method |' > reports/summary.md
      && cp accuracy.json reports/summary.json
    deps: [model-joint-0.txt, model-joint-1.txt, accuracy.json]
    outs: [reports/report.html]
  slow:
    cmd: sh -c 'sleep $(cat seconds.txt) & echo $! > pid.txt; wait' && date > slow.txt
    deps: [seconds.txt]
    outs: [slow.txt]
"""


@dataclass
class Served:
    """A project whose pages are open."""

    project: Path
    api: str
    process: "subprocess.Popen[str]"

    def ask(self, path: str, **content: Any) -> Any:
        response = httpx.post(f"{self.api}/{path}", json=content, timeout=30)
        response.raise_for_status()
        return response.json()

    def deployment(self, name: str) -> Any:
        return httpx.get(f"{self.api}/deployments/name/{name}", timeout=30).json()

    def start(self, name: str = "pipeline/pipeline", **parameters: Any) -> str:
        """The id of a run that was just asked for."""
        run = self.ask(f"deployments/{self.deployment(name)['id']}/create_flow_run", parameters=parameters)
        return str(run["id"])

    def state(self, run: str) -> Any:
        return httpx.get(f"{self.api}/flow_runs/{run}", timeout=30).json()["state"]

    def ended(self, run: str, seconds: float = 90) -> tuple[str, str]:
        """How a run has ended: the name and the message of its state."""
        wait(lambda: self.state(run)["type"] in {"COMPLETED", "FAILED", "CANCELLED", "CRASHED"}, seconds)
        state = self.state(run)
        return state["name"], state["message"]

    def slowly(self, seconds: int) -> tuple[str, int]:
        """A run of `slow` that is at work, and a process of it."""
        (self.project / "seconds.txt").write_text(f"{seconds}\n")
        (self.project / "pid.txt").unlink(missing_ok=True)
        run = self.start(stages=["slow"])
        wait(lambda: (self.project / "pid.txt").exists() and (self.project / "pid.txt").read_text().strip() != "")
        return run, int((self.project / "pid.txt").read_text())


def wait(condition: Callable[[], bool], seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited for too long"
        time.sleep(0.2)


def lives(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


@contextmanager
def serving(project: Path, home: Path, **environment: str) -> Iterator[Served]:
    asked = {"HOME": str(home), "PREFECT_WORKER_QUERY_SECONDS": "1", "PYTHONUNBUFFERED": "1"}
    with started(project, "-m", "flows.ui", "--port", "0", **asked, **environment) as process:
        lines = []
        for line in iter(process.stdout.readline, ""):
            lines.append(line)
            if line.startswith("Ctrl-C"):
                break
        found = re.search(r"^open (http://\S+)$", "".join(lines), re.MULTILINE)
        assert found, "".join(lines)
        yield Served(project, f"{found[1]}/api", process)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    base = tmp_path_factory.mktemp("ui")
    project = make_project(base / "project", GRAPH)
    shutil.copy(ROOT / "prefect.yaml", project)
    shutil.copytree(ROOT / "comparisons", project / "comparisons")
    (project / "seconds.txt").write_text("0\n")
    (project / "accuracy.json").write_text('[{"run": "joint", "accuracy": 0.5}]')
    with serving(project, base) as served:
        yield served


def artifacts(served: Served, run: str) -> dict[str, Any]:
    found = served.ask("artifacts/filter", artifacts={"flow_run_id": {"any_": [run]}})
    return {artifact["key"]: artifact for artifact in found}


def test_the_deployments_are_those_of_the_file_and_their_forms_come_from_the_schema(served: Served) -> None:
    names = {each["name"]: each for each in served.ask("deployments/filter")}
    assert names.keys() == {"pipeline", "nightly", "retrain-on-change", "compare"}
    (schedule,) = names["nightly"]["schedules"]
    assert (schedule["schedule"]["cron"], schedule["schedule"]["timezone"]) == ("0 3 * * *", "Europe/Berlin")
    schema = names["pipeline"]["parameter_openapi_schema"]
    assert schema["properties"]["grid"]["default"]["seeds"] == [0, 1, 2]
    grid, train = (schema["definitions"][name]["properties"] for name in ("Grid", "Train"))
    assert "learned-online" in grid["schedulers"]["items"]["enum"]
    assert "unimodal" not in grid["methods"]["items"]["enum"]
    assert train["lr_schedule"]["enum"] == ["constant", "cosine", "step"] and train["lr"]["description"]
    studies = names["compare"]["parameter_openapi_schema"]["properties"]["study"]
    assert set(studies["enum"]) == {path.stem for path in (ROOT / "comparisons").glob("*.yaml")}


def test_a_run_shows_its_stages_progress_table_change_and_report(served: Served) -> None:
    first = served.start()
    assert served.ended(first) == ("Completed", "5 Completed")
    shown = artifacts(served, first)
    progress = shown["train-joint-0"]
    assert (progress["data"], progress["description"]) == (100.0, "train_loss=0.25 validation_accuracy=0.9")
    assert "There was none." in shown["summary"]["data"]
    link = re.search(r"\((http.*)\)", shown["report"]["data"])
    assert httpx.get(link[1]).text == "prepared\n"
    (served.project / "accuracy.json").write_text('[{"run": "joint", "accuracy": 0.75}]')
    second = served.start()
    assert served.ended(second) == ("Completed", "4 Cached, 1 Completed")
    assert "| joint | 75.0 | 50.0 | +25.0 |" in artifacts(served, second)["summary"]["data"]


def test_what_the_form_changes_is_written_and_nothing_else(served: Served) -> None:
    path = served.project / "params.yaml"
    before = path.read_text()
    newer = before.replace("max_parallel: 2", "max_parallel: 1")  # changed after the form was made
    path.write_text(newer)
    train = served.deployment("pipeline/pipeline")["parameter_openapi_schema"]["properties"]["train"]["default"]
    run = served.start(stages=["prepare"], train=train | {"epochs": 11})
    assert served.ended(run)[0] == "Completed"
    assert path.read_text() == newer.replace("\ntrain:\n  epochs: 10\n", "\ntrain:\n  epochs: 11\n")
    logs = served.ask("logs/filter", logs={"flow_run_id": {"any_": [run]}})
    assert "params.yaml: train.epochs: 10 -> 11" in [log["message"] for log in logs]
    path.write_text(before)


def test_what_does_not_fit_together_is_refused_and_nothing_is_written(served: Served) -> None:
    path = served.project / "params.yaml"
    before = path.read_text()
    run = served.start(grid={"seeds": [0], "methods": ["joint"], "schedulers": ["learned"]})
    expected = "parameters of the run: grid.schedulers: 'random' is missing; the others are compared with it"
    assert served.ended(run) == ("Failed", expected)
    assert path.read_text() == before
    with pytest.raises(httpx.HTTPStatusError, match="409"):  # what a section does not allow, the server refuses
        served.start(grid={"seeds": [0], "methods": ["joint"], "schedulers": ["rnadom"]})


def test_a_second_run_waits_and_cancelling_the_first_stops_its_stage(served: Served) -> None:
    first, pid = served.slowly(600)
    second = served.start("pipeline/nightly", stages=["prepare"])
    time.sleep(4)
    assert served.state(second)["type"] == "SCHEDULED"
    served.ask(f"flow_runs/{first}/set_state", state={"type": "CANCELLING"})
    wait(lambda: not lives(pid), SECONDS_TO_STOP)
    assert served.ended(first)[0] == "Cancelled"
    assert served.ended(second)[0] == "Completed"


def test_a_run_that_is_killed_crashes_and_frees_its_place(served: Served) -> None:
    run, pid = served.slowly(600)
    os.kill(int((served.project / ".dvc/tmp/flow.lock").read_text()), signal.SIGKILL)
    wait(lambda: not lives(pid), SECONDS_TO_STOP)
    assert served.ended(run)[0] == "Crashed"
    (served.project / "seconds.txt").write_text("0\n")
    assert served.ended(served.start(stages=["slow"]))[0] == "Completed"
