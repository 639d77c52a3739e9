"""What is replaced inside of DVC is there, with the signature that its replacement has."""

import inspect
import json
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
import yaml
from dvc.cli import main
from dvc.lock import Lock

from flows.workspace.children import Children
from flows.workspace.forkserver import FOLDER
from flows.workspace.repro import SECONDS_BETWEEN_TRIES, _in_one_write, look_often_for_the_lock
from tests.helpers import ROOT

REPLACED = {
    "dvc_objects.fs.local.FsspecLocalFileSystem.open": ["self", "path", "mode", "encoding"],
    "dvc_data.hashfile.db.local.LocalHashFileDB.protect": ["self", "path"],
    "dvc.dvcfile.Lockfile.dump_stages": ["self", "stages"],
    "dvc.stage.run._run": ["executable", "cmd"],
}
PROGRAM = """
from flows.workspace.repro import fork_stages, keep_whole_objects, write_one_entry, write_whole_files
from {module} import {owner}
before = {owner}.{name}
write_whole_files()
keep_whole_objects()
write_one_entry()
fork_stages()
assert {owner}.{name} is not before
"""

DVC_YAML = """
stages:
  first:
    cmd: cp params.yaml a
    params: [odd]
    outs: [a]
  cell:
    matrix: {name: ["1e5", "on", "plain"]}
    cmd:
      - echo "${item.name}" > "out-${item.name}"
      - echo "a long line that is folded where it is written, ${item.name} ${item.name} ${item.name}"
    deps: [a]
    outs: ["out-${item.name}"]
"""
ODD = """
odd:
  {small: 1.0e-05, yes: "yes", "no": null,
   text: "two\\nlines: 'quoted' # ä", time: "12:30", zero: "0o7", back: '\\1 \\n'}
"""


def by_dvc(*arguments: str) -> None:
    assert main([*arguments, "-q"]) == 0


@pytest.mark.parametrize(
    "form",
    [
        *("as DVC writes it", "with anchors"),
        *(pytest.param(form, marks=pytest.mark.nightly) for form in ("with a comment", "in braces", "none")),
    ],
)
def test_the_lock_is_what_dvc_would_write(
    form: str, tmp_path: Path, forkservers: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Made, one entry changed, one added."""

    def by_us(*arguments: str) -> None:
        paths = os.pathsep.join([str(ROOT), str(ROOT / "src")])
        environment = os.environ | {"PYTHONPATH": paths, FOLDER: str(forkservers)}
        with Children().run("flows.workspace.repro", [*arguments, "-q"], environment) as lines:
            list(lines)

    odd = ODD.replace("{small", "{one: &it {a: 1}, two: *it, small") if form == "with anchors" else ODD
    locks = []
    for name, dvc in {"dvc": by_dvc, "us": by_us}.items():
        (folder := tmp_path / name).mkdir()
        monkeypatch.chdir(folder)
        Path("params.yaml").write_text(odd)
        Path("dvc.yaml").write_text(DVC_YAML.replace(', "plain"', ""))
        dvc("init", "--no-scm")
        lock = Path("dvc.lock")
        if form != "none":
            dvc("repro")
        if form == "with a comment":
            lock.write_text("# by hand\n" + lock.read_text())
        if form == "in braces":
            lock.write_text(json.dumps(yaml.safe_load(lock.read_text())))
        Path("params.yaml").write_text(odd.replace("12:30", "yes"))
        Path("dvc.yaml").write_text(DVC_YAML)
        dvc("repro")
        locks.append(lock.read_bytes())
    assert locks[0] == locks[1]
    assert (b"&id" in locks[0]) is (form == "with anchors")
    assert set(yaml.safe_load(locks[0])["stages"]) == {"first", "cell@1e5", "cell@on", "cell@plain"}


def test_the_lock_of_paths_is_whole_at_every_moment(tmp_path: Path) -> None:
    path = tmp_path / "rwlock"
    for content in ({"write": {"a/long/path": {"pid": 1}}}, {}, {"read": {"b": [{"pid": 2}]}}):
        size = path.stat().st_size if path.exists() else 0
        with _in_one_write(path, "utf-8") as file:
            json.dump(content, file)
            assert not path.exists() or path.stat().st_size == size  # nothing is cut before all is there
        assert json.loads(path.read_text()) == content


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
