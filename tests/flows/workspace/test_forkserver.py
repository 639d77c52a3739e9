"""A stage that is forked behaves as one that is not: output, exit status, and an end when it is killed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.helpers import ROOT

STAGE = """
import os, resource, sys, time
from pathlib import Path
import tasks
from bss.files import write_text

def stage(deed: str) -> None:
    print(f"out {os.getcwd()} {sys.argv[1:]} {os.environ['MARK']} {'BSS_FORKSERVER' in os.environ}")
    print("err", file=sys.stderr)
    if deed == "refuse":
        raise ValueError("no such thing")
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


def start(folder: Path, deed: str, forkserver: str | None) -> subprocess.Popen[str]:
    (folder / "stage.py").write_text(STAGE)
    environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'src'}", "MARK": "seen"}
    environment |= {"BSS_FORKSERVER": forkserver} if forkserver else {}
    return subprocess.Popen(
        [sys.executable, "-m", "stage", deed],
        cwd=folder,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


@pytest.mark.xdist_group("pipeline")
@pytest.mark.parametrize(("deed", "status"), [("work", 0), ("refuse", 2), ("crash", 1), ("fill", 1)])
def test_output_and_exit_status_are_those_of_a_stage_by_itself(
    tmp_path: Path, forkserver: str, deed: str, status: int
) -> None:
    alone, forked = start(tmp_path, deed, None), start(tmp_path, deed, forkserver)
    (out, err), (out_alone, err_alone) = forked.communicate(timeout=60), alone.communicate(timeout=60)
    assert (forked.returncode, alone.returncode) == (status, status)
    assert out == out_alone == f"out {tmp_path} ['{deed}'] seen False\n"
    assert err.splitlines()[0] == err_alone.splitlines()[0] == "err"
    assert err.splitlines()[-1] == err_alone.splitlines()[-1]
    assert ("Traceback" in err) is (deed == "crash")
    if deed == "fill":
        message = "error: large was not written: File too large; make room and run again, what was finished is kept"
        assert err.splitlines()[-1] == message
        assert not (tmp_path / "large").exists()


@pytest.mark.xdist_group("pipeline")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_killing_the_process_that_waits_ends_the_fork(
    tmp_path: Path, forkserver: str, number: signal.Signals
) -> None:
    process = start(tmp_path, "sleep", forkserver)
    deadline = time.monotonic() + 30
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    fork = int((tmp_path / "pid").read_text())
    assert fork != process.pid
    process.send_signal(number)
    process.communicate(timeout=10)
    while Path(f"/proc/{fork}").exists():
        assert time.monotonic() < deadline, "the fork goes on"
        time.sleep(0.05)


def test_without_a_server_a_stage_works_by_itself(tmp_path: Path) -> None:
    process = start(tmp_path, "work", str(tmp_path / "nobody"))
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert out.startswith("out ")
