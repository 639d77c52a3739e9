"""A grid over two workers while the server, as compose.yaml has it, with PostgreSQL, is killed and started again."""

import json
import os
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
import yaml
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings

from tests.helpers import ROOT
from tests.helpers.machines import POOL, log_of, made, make_pool, ran, working
from tests.helpers.postgres import Postgres, free_port, is_installed, postgres
from tests.helpers.served import wait
from tests.helpers.workspace import locked

pytestmark = pytest.mark.xdist_group("distribute")
AUTH = "team:letters"
SEEDS = range(4)
SECONDS_AWAY = 15.0
"""A run that begins meanwhile finds no server, and crashes."""
SECONDS_TO_END = 900.0


@pytest.fixture(autouse=True)
def wanted(request: pytest.FixtureRequest) -> None:
    if not request.config.getoption("--distribute"):
        pytest.skip("it takes minutes: make test-distribute")
    if not is_installed():
        pytest.skip("needs PostgreSQL (apt install postgresql)")


@dataclass
class SharedServer:
    """The service `server` of compose.yaml, without a container."""

    base: Path
    data: Postgres
    port: int
    process: "subprocess.Popen[bytes]" = field(init=False)

    @property
    def api(self) -> str:
        return f"http://127.0.0.1:{self.port}/api"

    def start(self) -> None:
        """Return when it answers."""
        service = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]["server"]
        text = json.dumps(service["environment"])
        text = text.replace("${POSTGRES_PASSWORD}@postgres/", f"any@127.0.0.1:{self.data.port}/")
        settings = json.loads(re.sub(r"\$\{AUTH:[^}]*\}", AUTH, text))
        command = [part.replace("0.0.0.0", "127.0.0.1") for part in service["command"]]
        with (self.base / "server.log").open("a") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *command, "--port", str(self.port)],
                env={"PATH": os.environ["PATH"], "HOME": str(self.base), **settings},
                cwd=self.base,
                stdout=log,
                stderr=log,
            )
        wait(self._answers)

    def wait_for(self, state: str, num_completed: int) -> None:
        """Return when so many runs are completed, and one is in this state."""
        wait(lambda: (states := self.states())["Completed"] >= num_completed and states[state] > 0)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def states(self) -> Counter[str]:
        """How many runs of the machines are in which state."""
        with get_client(sync_client=True) as client:
            runs = client.read_flow_runs(limit=200)
        return Counter(run.state_name for run in runs if run.deployment_id and run.state_name)

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.api}/health", auth=tuple(AUTH.split(":"))).is_success
        except httpx.HTTPError:
            return False


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SharedServer]:
    with postgres() as data:
        server = SharedServer(tmp_path, data, free_port())
        monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "prefect"))
        monkeypatch.setenv("PREFECT_API_URL", server.api)
        monkeypatch.setenv("PREFECT_API_AUTH_STRING", AUTH)
        monkeypatch.setenv("PREFECT_WORKER_QUERY_SECONDS", "1")
        monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
        server.start()
        try:
            with temporary_settings({PREFECT_API_URL: server.api, PREFECT_API_AUTH_STRING: AUTH}):
                yield server
        finally:
            server.kill()


def test_nothing_is_lost_where_the_server_is_killed(server: SharedServer, tmp_path: Path, forkservers: Path) -> None:
    make_pool()
    names = ("sender", "one", "two")
    sender, *machines = (made(tmp_path / name, forkservers, tmp_path / "remote", SEEDS) for name in names)
    command = [sys.executable, "-m", "bss", "distribute", "--pool", POOL]
    output = tmp_path / "sender.log"
    with working(*machines) as workers, output.open("w") as file:
        process = subprocess.Popen(
            command, cwd=sender.folder, env=sender.environment, stdout=file, stderr=subprocess.STDOUT
        )
        for state, num_completed in (("Running", 0), ("Submitting", 1)):
            server.wait_for(state, num_completed)
            server.kill()
            time.sleep(SECONDS_AWAY)
            server.start()
        assert process.wait(SECONDS_TO_END) == 0, output.read_text()
        assert [worker.poll() for worker in workers] == [None, None], "the workers go on by themselves"
    assert server.states() == {"Completed": len(SEEDS)}
    computed = Counter(stage for workspace in machines for stage in ran(log_of(workspace.folder).read_text()))
    assert computed == dict.fromkeys(computed, 1) and len(computed) == 7 * len(SEEDS)
    alone = made(tmp_path / "alone", forkservers, seeds=SEEDS)
    alone.reproduce()
    assert locked(alone.folder) == locked(sender.folder)
