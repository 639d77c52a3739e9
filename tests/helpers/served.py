"""A project of shell stages whose pages are open, as `make ui` opens them: a server, a worker, deployments."""

import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.helpers import ROOT
from tests.helpers.runs import make_project, started

BLOCK = "custom-webhook/team"
"""The notification block that prefect.yaml of the project names."""
SECONDS_TO_WAIT = 240.0
"""Long, because a busy machine takes a minute to start what a quiet one starts in seconds."""

# `slow` lasts as long as a file says, and tells the id of what it started.
GRAPH = """
stages:
  prepare: {cmd: "grep -A1 '^train:' params.yaml > prepared.txt", outs: [prepared.txt], params: [train.epochs]}
  train:
    matrix: {method: [joint], seed: [0, 1]}
    cmd: >-
      echo progress 2/2 train_loss=0.25 validation_accuracy=0.9;
      cp prepared.txt model-${item.method}-${item.seed}.txt
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
    welcome: str
    """What was printed until all was open."""

    def ask(self, path: str, **content: Any) -> Any:
        client = {"Prefect-Csrf-Client": "tests"}
        token = httpx.get(f"{self.api}/csrf-token", params={"client": "tests"}, timeout=90).json()["token"]
        headers = client | {"Prefect-Csrf-Token": token}
        response = httpx.post(f"{self.api}/{path}", json=content, headers=headers, timeout=90)
        assert response.is_success, f"{path}: {response.status_code} {response.text}"
        return response.json()

    def deployment(self, name: str) -> Any:
        return httpx.get(f"{self.api}/deployments/name/{name}", timeout=90).json()

    def start(self, name: str = "pipeline/pipeline", **parameters: Any) -> str:
        """The id of a run that was just asked for."""
        run = self.ask(f"deployments/{self.deployment(name)['id']}/create_flow_run", parameters=parameters)
        return str(run["id"])

    def state(self, run: str) -> Any:
        return httpx.get(f"{self.api}/flow_runs/{run}", timeout=90).json()["state"]

    def ended(self, run: str, seconds: float = SECONDS_TO_WAIT) -> tuple[str, str]:
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
        (self.project / "seconds.txt").write_text("0\n")  # for whoever runs the stage next
        return run, int((self.project / "pid.txt").read_text())


def wait(condition: Callable[[], bool], seconds: float = SECONDS_TO_WAIT) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited for too long"
        time.sleep(0.2)


def lives(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


@contextmanager
def serving(project: Path, home: Path, **environment: str) -> Iterator[Served]:
    asked = {"HOME": str(home), "PREFECT_WORKER_QUERY_SECONDS": "1", "PYTHONUNBUFFERED": "1"}
    # Nobody answers there, and nobody may ask.
    proxy = {"HTTP_PROXY": "http://127.0.0.1:9", "ALL_PROXY": "socks5://127.0.0.1:9", "NO_PROXY": ""}
    proxy |= {"SSL_CERT_FILE": "/nowhere/ca.pem", "PREFECT_SERVER_API_AUTH_STRING": "admin:pw"}
    with started(project, "-m", "bss", "ui", "--port", "0", **asked, **proxy, **environment) as process:
        lines = []
        for line in iter(process.stdout.readline, ""):
            lines.append(line)
            if line.startswith("Ctrl-C"):
                break
        found = re.search(r"^open (http://\S+)$", "".join(lines), re.MULTILINE)
        assert found, "".join(lines)
        yield Served(project, f"{found[1]}/api", process, "".join(lines))


def make_served_project(folder: Path) -> Path:
    project = make_project(folder, GRAPH)
    text = (ROOT / "prefect.yaml").read_text()
    (project / "prefect.yaml").write_text(text.replace("  # notify: slack-webhook/team", f"  notify: {BLOCK}"))
    shutil.copytree(ROOT / "comparisons", project / "comparisons")
    (project / "seconds.txt").write_text("0\n")
    (project / "accuracy.json").write_text('[{"run": "joint", "accuracy": 0.5}]')
    return project
