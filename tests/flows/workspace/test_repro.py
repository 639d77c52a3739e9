"""What is replaced inside of DVC is there, with the signature that its replacement has."""

import inspect
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
from dvc.lock import Lock

from flows.workspace.repro import SECONDS_BETWEEN_TRIES, look_often_for_the_lock
from tests.helpers import ROOT

REPLACED = {
    "dvc_objects.fs.local.FsspecLocalFileSystem.open": ["self", "path", "mode", "encoding"],
    "dvc_data.hashfile.db.local.LocalHashFileDB.protect": ["self", "path"],
}
PROGRAM = """
from flows.workspace.repro import keep_whole_objects, write_whole_files
from {module} import {owner}
before = {owner}.{name}
write_whole_files()
keep_whole_objects()
assert {owner}.{name} is not before
"""


@pytest.mark.parametrize("path", REPLACED)
def test_what_is_replaced_in_dvc_is_there(path: str) -> None:
    module, owner, name = path.rsplit(".", 2)
    replaced = getattr(getattr(import_module(module), owner, None), name, None)
    assert replaced is not None, f"DVC has no {path} any more: see flows/workspace/repro.py"
    parameters = list(inspect.signature(replaced).parameters)
    assert parameters[: len(REPLACED[path])] == REPLACED[path], f"{path} has other parameters: {parameters}"


def test_a_lock_is_looked_for_often(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("dvc.lock.DEFAULT_TIMEOUT", 3)
    look_often_for_the_lock()
    holder, waiting = (Lock(str(tmp_path / "lock"), wait=True) for _ in range(2))
    waits: list[float] = []

    def wait(seconds: float) -> None:
        waits.append(seconds)
        holder.unlock()

    monkeypatch.setattr("dvc.lock.time.sleep", wait)
    holder.lock()
    waiting.lock()
    waiting.unlock()
    assert waits == pytest.approx([SECONDS_BETWEEN_TRIES])


@pytest.mark.parametrize("path", REPLACED)
def test_it_is_replaced(path: str) -> None:
    module, owner, name = path.rsplit(".", 2)
    program = PROGRAM.format(module=module, owner=owner, name=name)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "src")])}
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=environment, check=True)
