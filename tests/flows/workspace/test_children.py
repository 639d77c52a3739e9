"""Children give their lines and their exit, and end with all that they started, forked by a server or not."""

import os
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from flows.workspace.children import Children, Stopped
from tests.helpers import ROOT

SHELL = "tests.helpers.shell"


@pytest.fixture(params=["started", "forked"])
def environment(request: pytest.FixtureRequest, forkservers: Path) -> dict[str, str]:
    own = {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "src")])}
    return os.environ | own | ({"BSS_FORKSERVERS": str(forkservers)} if request.param == "forked" else {})


def test_they_give_their_lines_and_their_exit(environment: Mapping[str, str], tmp_path: Path) -> None:
    children = Children()
    with children.run(SHELL, ["echo out; echo err >&2; pwd"], environment, tmp_path) as output:
        assert sorted(output) == sorted(["err\n", "out\n", f"{tmp_path}\n"])
    with (
        pytest.raises(subprocess.CalledProcessError) as failed,
        children.run(SHELL, ["exit 3"], environment) as output,
    ):
        assert not list(output)
    assert failed.value.returncode == 3
    with (
        pytest.raises(subprocess.CalledProcessError) as killed,
        children.run(SHELL, ["kill -9 $PPID; sleep 1"], environment) as output,
    ):
        assert not list(output)
    assert killed.value.returncode == -9


@pytest.mark.parametrize("trap", ["", "trap '' TERM;"], ids=["willing", "unwilling"])
def test_they_are_stopped_with_all_they_started(trap: str, environment: Mapping[str, str]) -> None:
    children = Children()
    pids: list[int] = []

    def read() -> None:
        with (
            pytest.raises(subprocess.CalledProcessError),
            children.run(SHELL, [f"{trap} sleep 600 & echo $!; wait; sleep 600"], environment) as output,
        ):
            for line in output:
                pids.append(int(line))

    thread = threading.Thread(target=read)
    thread.start()
    wait_until(lambda: bool(pids) or not thread.is_alive())
    children.stop(grace=1.0)
    thread.join(timeout=5)
    assert not thread.is_alive()
    wait_until(lambda: not is_running(pids[0]))
    with pytest.raises(Stopped), children.run(SHELL, ["true"], environment):
        pass


def wait_until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.05)


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
