"""What is replaced inside of DVC is there, with the signature that its replacement has."""

import inspect
import os
import subprocess
import sys
from importlib import import_module

import pytest

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


@pytest.mark.parametrize("path", REPLACED)
def test_it_is_replaced(path: str) -> None:
    module, owner, name = path.rsplit(".", 2)
    program = PROGRAM.format(module=module, owner=owner, name=name)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "src")])}
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=environment, check=True)
