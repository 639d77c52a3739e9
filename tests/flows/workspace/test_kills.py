"""Flows that are killed, that meet another, and that meet a full disk, on toy graphs of shell stages."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bss.locks import held
from tests.helpers import ROOT
from tests.helpers.runs import make_project, run, started

pytestmark = pytest.mark.xdist_group("flow")
ENDLESS = """
stages:
  endless:
    cmd: sh -c '%s sleep 600 & echo $! > pid.txt; wait; sleep 600'
    outs: [done.txt]
"""
SHORT = """
stages:
  endless: {cmd: echo done > done.txt, outs: [done.txt]}
"""
LARGE = """
stages:
  small: {cmd: echo small > small.txt, outs: [small.txt]}
  large: {cmd: seq 60000 > large.txt, deps: [small.txt], outs: [large.txt]}
"""
UNWILLING = 'trap "" TERM;'
DVC = (sys.executable, "-m", "dvc")


def grandchild(project: Path) -> int:
    deadline = time.monotonic() + 60
    while not (path := project / "pid.txt").exists() or not path.read_text().strip():
        assert time.monotonic() < deadline, "the stage did not start"
        time.sleep(0.1)
    return int(path.read_text())


def expect_end(pid: int, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while Path(f"/proc/{pid}").exists():
        assert time.monotonic() < deadline, f"{pid} lives on"
        time.sleep(0.1)


def by_hand(project: Path, *arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [*DVC, *arguments],
        cwd=project,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def test_a_flow_at_work_refuses_others_and_killed_takes_its_stages_along(tmp_path: Path, api: str) -> None:
    """Even those that do not end when they are asked to; the next flow goes on at once."""
    project = make_project(tmp_path / "project", ENDLESS % UNWILLING)
    with started(project, PREFECT_API_URL=api) as process:
        stage = grandchild(project)
        refused = by_hand(project, "repro")
        output, _ = refused.communicate(timeout=60)
        assert refused.returncode != 0
        assert re.search(r"busy, it is being blocked by:\s+\(PID \d+\): .*flows/workspace/repro\.py", output), output
        status, output = run(project, PREFECT_API_URL=api)
        assert (status, f"process {process.pid} is at work" in output) == (3, True), output
        assert Path(f"/proc/{stage}").exists(), "the flow's stage goes on"
        process.kill()
        process.wait()
        (project / "dvc.yaml").write_text(SHORT)
        status, output = run(project, "-m", "bss", "run", "endless", PREFECT_API_URL=api)
    assert status == 0, output
    assert (project / "done.txt").read_text() == "done\n"
    expect_end(stage, seconds=5)


def test_what_is_no_child_ends_when_the_lock_is_given_back(tmp_path: Path) -> None:
    program = "import sys, time; from pathlib import Path; from flows.workspace.lifeline import end_with_holder;"
    program += "end_with_holder(Path(sys.argv[1])); print('watches', flush=True); time.sleep(600)"
    with held(tmp_path / "lock", "process {pid} shows the pages"):
        command = [sys.executable, "-c", program, str(tmp_path / "lock")]
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, start_new_session=True)
        assert process.stdout is not None and process.stdout.readline() == b"watches\n"
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=1)
    assert process.wait(timeout=5) == -signal.SIGTERM


@pytest.mark.nightly
def test_of_two_flows_started_together_one_is_refused(tmp_path: Path, api: str) -> None:
    project = make_project(tmp_path / "project", ENDLESS % "")
    with started(project, PREFECT_API_URL=api) as first, started(project, PREFECT_API_URL=api) as second:
        stage = grandchild(project)
        deadline = time.monotonic() + 60
        while first.poll() is None and second.poll() is None:
            assert time.monotonic() < deadline, "both are at work"
            time.sleep(0.1)
        refused, other = (first, second) if second.poll() is None else (second, first)
        assert refused.stdout is not None
        output = refused.stdout.read()
        assert (refused.returncode, f"process {other.pid} is at work" in output) == (3, True), output
        assert Path(f"/proc/{stage}").exists()


def test_a_flow_is_refused_at_once_while_a_dvc_by_hand_is_at_work(tmp_path: Path, api: str) -> None:
    project = make_project(tmp_path / "project", ENDLESS % "")
    with by_hand(project, "repro") as process:
        stage = grandchild(project)
        status, output = run(project, PREFECT_API_URL=api)
        assert (status, f"process {process.pid} is at work" in output) == (3, True), output
        assert Path(f"/proc/{stage}").exists()
        os.killpg(process.pid, signal.SIGKILL)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 600 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=600k", "none", str(folder)]
    made = subprocess.run(mount, check=False, capture_output=True, text=True)
    if made.returncode:
        pytest.skip(f"no file system can be mounted here: {made.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.nightly
def test_a_disk_that_is_full_when_dvc_keeps_a_result_fails_the_run_and_room_mends_it(
    small_disk: Path, api: str
) -> None:
    """The stage itself finds room for its 349 kB; their copy in the cache does not."""
    project = make_project(small_disk / "project", LARGE)
    status, output = run(project, PREFECT_API_URL=api, PYTHONDONTWRITEBYTECODE="1")
    assert status == 1, output
    assert "No space left on device" in output
    assert "Traceback" not in output
    assert output.splitlines()[-1] == "Failed: 1 Completed, 1 Failed"
    subprocess.run(["mount", "-o", "remount,size=10m", str(small_disk)], check=True)
    status, output = run(project, "-m", "bss", "run", "large", PREFECT_API_URL=api)
    assert status == 0, output
    assert (project / "large.txt").read_text() == "".join(f"{number}\n" for number in range(1, 60001))
    assert run(project, "-m", "bss", "run", "large", PREFECT_API_URL=api)[1].endswith("Completed: 2 Cached\n")


def test_dvc_killed_in_the_middle_of_a_file_leaves_the_old_one(tmp_path: Path) -> None:
    (tmp_path / "dvc.lock").write_text("old")
    program = """
import os, signal
from flows.workspace.repro import write_whole_files
write_whole_files()
from dvc.fs import localfs
with localfs.open("dvc.lock", "w+", encoding="utf-8") as file:
    file.write("half")
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)
"""
    paths = os.pathsep.join([str(ROOT), str(ROOT / "src")])
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=os.environ | {"PYTHONPATH": paths}, check=False
    )
    assert done.returncode == -signal.SIGKILL
    assert (tmp_path / "dvc.lock").read_text() == "old"


def test_dvc_writes_what_a_later_run_reads_in_this_way_and_syncs_what_it_will_trust(tmp_path: Path) -> None:
    project = make_project(tmp_path / "project", SHORT)
    program = """
import sys
import flows.workspace.repro
replaced, sync = flows.workspace.repro.replaced, flows.workspace.repro.sync
def noted(path):
    print("whole:", path.name, flush=True)
    return replaced(path)
def synced(path):
    print("synced:", path, oct(path.stat().st_mode & 0o777), flush=True)
    sync(path)
flows.workspace.repro.replaced, flows.workspace.repro.sync = noted, synced
sys.exit(flows.workspace.repro.main())
"""
    status, output = run(project, "-c", program, "repro")
    assert status == 0, output
    assert set(re.findall(r"^whole: (.+)$", output, flags=re.MULTILINE)) == {"dvc.lock"}
    (kept,) = [path for path in (project / ".dvc/cache/files").rglob("*") if path.is_file()]
    assert f"synced: {kept} 0o644" in output.splitlines()
