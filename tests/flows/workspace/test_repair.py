"""What a killed run leaves is put right: half a dvc.lock, DVC's entries of dead processes, a dying stage."""

import json
import os
import random
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest

import tasks
from bss.errors import Busy
from flows.workspace import lock as workspace
from flows.workspace.repair import repair
from tests.helpers import ROOT
from tests.helpers.runs import make_project

GRAPH = """
stages:
  first: {cmd: cat raw.txt > first.txt, deps: [raw.txt], outs: [first.txt]}
  second: {cmd: cat first.txt first.txt > second.txt, deps: [first.txt], outs: [second.txt]}
  third: {cmd: cat second.txt first.txt > third.txt, deps: [first.txt, second.txt], outs: [third.txt]}
"""


def repro(project: Path) -> str:
    """What `dvc repro` says; it keeps its notes inside of the project."""
    done = subprocess.run(
        [sys.executable, "-m", "dvc", "repro"],
        cwd=project,
        check=False,
        capture_output=True,
        text=True,
        env=os.environ | {"DVC_SITE_CACHE_DIR": str(project / ".dvc/tmp/site")},
    )
    return f"{done.returncode}\n{done.stdout}{done.stderr}"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    project = make_project(tmp_path_factory.mktemp("repair") / "project", GRAPH)
    (project / "raw.txt").write_text("raw")
    assert repro(project).startswith("0\n")
    return project


@pytest.fixture
def project(made: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(made)
    return made


def cuts(content: bytes) -> list[int]:
    return [0, *random.Random(0).sample(range(1, len(content)), 60), len(content) - 1]


def test_half_a_lock_file_is_removed_and_comes_back_from_the_cache(project: Path) -> None:
    lock = project / "dvc.lock"
    whole = lock.read_bytes()
    repair()
    assert lock.read_bytes() == whole
    for cut in cuts(whole):
        lock.write_bytes(whole[:cut])
        repair()
        # What ends with a line may be a shorter lock file, which DVC lengthens.
        assert not lock.exists() or whole[:cut].endswith(b"\n"), whole[:cut]
    lock.write_bytes(whole[: whole.index(b"third:") + 3])
    assert repro(project).startswith("255\n"), "DVC itself gives up"
    repair()
    output = repro(project)
    assert "Stage 'third' is cached" in output
    assert "Running stage" not in output
    assert lock.read_bytes() == whole


def test_half_a_lock_file_is_taken_from_the_last_commit(project: Path) -> None:
    lock = project / "dvc.lock"
    whole = lock.read_bytes()
    identity = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
    subprocess.run(["git", "add", "dvc.lock"], check=True)
    subprocess.run(["git", *identity, "commit", "--quiet", "-m", "lock", "dvc.lock"], check=True)
    for cut in (0, len(whole) // 2, len(whole) - 1):
        lock.write_bytes(whole[:cut])
        repair()
        assert lock.read_bytes() == whole


@pytest.mark.parametrize("left", ["", '{"write": {"/x": {"pi', '{"write": {"/x": {"pid": 4194303, "cmd": "dvc"}}}'])
def test_what_a_killed_dvc_noted_of_itself_is_removed(project: Path, left: str) -> None:
    Path(".dvc/tmp/rwlock").write_text(left)
    with workspace.occupied():
        repair()
    assert repro(project).startswith("0\n")


def test_a_process_that_only_has_the_number_of_a_dead_one_is_not_taken_for_it(project: Path) -> None:
    rwlock = Path(".dvc/tmp/rwlock")
    own = psutil.Process().create_time()
    rwlock.write_text(json.dumps({"write": {"/x": {"pid": os.getpid(), "cmd": "dvc repro"}}, "read": {}}))
    with pytest.raises(Busy, match=f"process {os.getpid()} is at work"), workspace.occupied():
        pass
    os.utime(rwlock, (own - 60, own - 60))
    with workspace.occupied():
        pass
    rwlock.unlink()


def test_what_a_killed_flow_started_is_waited_for(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with subprocess.Popen(["sleep", "1"]) as process:
        entry = {
            "pid": process.pid,
            "cmd": f"{ROOT}/flows/workspace/repro.py --wait-for-lock repro --single-item train",
        }
        Path(".dvc/tmp/rwlock").write_text(json.dumps({"write": {"/x": entry}, "read": {"/y": [entry]}}))
        threading.Thread(target=process.wait).start()
        with workspace.occupied():
            assert process.poll() == 0
    assert capsys.readouterr().out == f"waiting for process {process.pid} of a killed run to end\n"
    repair()


def test_a_dying_stage_is_waited_for_and_a_living_one_is_named(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = "import sys; from tasks import alone\nwith alone('train-0'): print(flush=True); sys.stdin.read()"
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdin and process.stdout
    process.stdout.readline()
    with monkeypatch.context() as patch:
        patch.setattr(workspace, "SECONDS_TO_END", 0.3)
        patch.setattr(tasks, "SECONDS_TO_END", 0.3)
        with pytest.raises(Busy, match=f"process {process.pid} is at work"), workspace.occupied():
            pass
        with pytest.raises(Busy, match=f"process {process.pid} is at work"), tasks.alone("train-0"):
            pass
        with tasks.alone("train-1"):
            pass
    subprocess.Popen(["sh", "-c", f"sleep 1; kill -KILL {process.pid}"])
    start = time.monotonic()
    with tasks.alone("train-0"), pytest.raises(ChildProcessError):
        assert 0.5 < time.monotonic() - start < 5
        process.communicate()
        raise ChildProcessError
    with workspace.occupied():
        pass
