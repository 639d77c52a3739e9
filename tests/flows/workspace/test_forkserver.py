"""A stage that is forked behaves as one that is not: output, exit status, code, and an end when it is killed."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from flows.workspace.forkserver import FOLDER, fork
from tests.helpers import ROOT
from tests.helpers.forked import run

STAGE = """
import os, resource, sys, time
from pathlib import Path
import tasks
import bss
from bss.errors import InputError
from bss.files import write_text

def stage(deed: str) -> None:
    print(f"out {os.getcwd()} {sys.argv[1:]} {os.environ['MARK']} {bss.__file__}")
    print("err", file=sys.stderr)
    if deed == "refuse":
        raise InputError("no such thing")
    if deed == "fill":
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
        write_text("x" * 100_000, Path("large"))
    if deed == "crash":
        raise RuntimeError("boom")
    if deed == "sleep":
        Path("pid").write_text(str(os.getpid()))
        time.sleep(600)

if __name__ == "__main__":
    tasks.run(stage)
"""


WAITS = """
import os, sys
from pathlib import Path
from flows.workspace.forkserver import fork
fork("stage", "stage", ["sleep"], Path.cwd(), os.environ, [0, 1, 2]).wait()
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A workspace with one stage, and a copy of the code."""
    for part in ("src", "tasks", "flows"):
        shutil.copytree(ROOT / part, tmp_path / part)
    (tmp_path / "stage.py").write_text(STAGE)
    return tmp_path


def environment(forkservers: Path | str) -> dict[str, str]:
    return os.environ | {"MARK": "seen", FOLDER: str(forkservers)}


def alone(folder: Path, deed: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "stage", deed]
    return subprocess.run(
        command, check=False, cwd=folder, env=environment("nowhere"), text=True, capture_output=True, timeout=60
    )


def forked(folder: Path, deed: str, forkservers: Path) -> subprocess.CompletedProcess[str]:
    return run("stage", [deed], folder, forkservers, MARK="seen")


@pytest.mark.xdist_group("pipeline")
@pytest.mark.parametrize(("deed", "status"), [("work", 0), ("refuse", 2), ("crash", 1), ("fill", 1)])
def test_output_and_exit_status_are_those_of_a_stage_by_itself(
    project: Path, forkservers: Path, deed: str, status: int
) -> None:
    first, second = forked(project, deed, forkservers), alone(project, deed)
    assert (first.returncode, second.returncode) == (status, status)
    # The code was copied with its times, so that the fork has what its server has loaded.
    for one, path in ((first, ROOT), (second, project)):
        assert one.stdout == f"out {project} ['{deed}'] seen {path / 'src/bss/__init__.py'}\n"
        lines = one.stderr.splitlines()
        assert lines[0] == "err"
        assert lines[-1] == ("err" if status == 0 else "log: logs/stage.log")
        assert ("Traceback" in one.stderr) is (deed == "crash")
        if deed == "fill":
            message = (
                "error: large was not written: File too large; make room and run again, what was finished is kept"
            )
            assert lines[-2] == message
            assert not (project / "large").exists()


@pytest.mark.xdist_group("pipeline")
def test_a_fork_has_the_code_that_lies_on_the_disk(project: Path, forkservers: Path) -> None:
    with (project / "src/bss/errors.py").open("a") as file:
        file.write("print('changed')\n")
    assert forked(project, "work", forkservers).stdout.splitlines() == [
        "changed",
        f"out {project} ['work'] seen {project / 'src/bss/__init__.py'}",
    ]


@pytest.mark.xdist_group("pipeline")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_killing_the_process_that_waits_ends_the_fork(
    project: Path, forkservers: Path, number: signal.Signals
) -> None:
    process = subprocess.Popen([sys.executable, "-c", WAITS], cwd=project, env=environment(forkservers))
    deadline, pid = time.monotonic() + 30, project / "pid"
    while not pid.exists() or not pid.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert int(pid.read_text()) != process.pid
    process.send_signal(number)
    process.wait(timeout=10)
    while Path(f"/proc/{pid.read_text()}").exists():
        assert time.monotonic() < deadline, "the fork goes on"
        time.sleep(0.05)


@pytest.mark.parametrize("servers", [{}, {FOLDER: "nowhere"}], ids=["none named", "none there"])
def test_without_a_server_nothing_is_forked(servers: dict[str, str], tmp_path: Path) -> None:
    assert fork("stage", "stage", [], tmp_path, servers, [0, 1, 2]) is None


def test_a_relative_folder_is_that_of_who_asks(
    project: Path, forkservers: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project)
    assert f"out {project} " in run("stage", ["work"], Path(), forkservers, MARK="m").stdout
