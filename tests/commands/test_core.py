"""What works after `pip install .` alone, and what is said where an extra is missing."""

import ast
import importlib.metadata
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import bss
from bss.exits import PACKAGES, needs
from tests.helpers import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
IMPORTED = {package: name for name, package in PACKAGES.items()}
"""Package -> what it is imported as, where that is another name."""
WITH_ANOTHER = {"markupsafe"}
"""Imported as well, and brought by jinja2."""
HIDING = """
import importlib.abc, sys

class Hidden(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {hidden}:
            raise ModuleNotFoundError(f"No module named '{{name}}'", name=name.partition(".")[0])

sys.meta_path.insert(0, Hidden())
"""


def names(requirements: list[str]) -> set[str]:
    """Of the packages, as an index spells them; bss itself is none."""
    return {re.sub(r"[._]", "-", re.split(r"[^\w.-]", line)[0]) for line in requirements} - {"bss"}


CORE = names(PROJECT["dependencies"])
EXTRAS = {package for lines in PROJECT["optional-dependencies"].values() for package in names(lines)}


def without(packages: set[str], program: str, *arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """A Python program that cannot import these packages."""
    hidden = {IMPORTED.get(package, package.replace("-", "_")) for package in packages}
    command = [sys.executable, "-c", HIDING.format(hidden=hidden) + program, *arguments]
    environment = {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}", "PATH": "/usr/bin:/bin"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_the_public_names_need_four_packages(tmp_path: Path) -> None:
    program = "import bss\nassert 'torch' not in sys.modules\nfrom bss import *\nprint(*dir(bss))"
    done = without(EXTRAS | CORE - {"torch", "numpy", "polars", "pydantic"}, program, folder=tmp_path)
    assert done.stdout.split() == sorted(bss.__all__), done.stderr


def bss_without_extras(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return without(EXTRAS - CORE, "from bss.__main__ import app\napp(prog_name='bss')", *arguments, folder=folder)


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["predict", "--help"]], ids=" ".join)
def test_bss_starts_with_the_core_alone(arguments: list[str], tmp_path: Path) -> None:
    for folder in (tmp_path, ROOT):  # in a workspace it has more commands
        done = bss_without_extras(folder, *arguments)
        assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("command", "package", "extra"), [("check", "scikit-learn", "stages"), ("report", "dvc", "pipeline")]
)
def test_a_command_that_needs_more_says_which_extra(command: str, package: str, extra: str) -> None:
    done = bss_without_extras(ROOT, command)
    line = f"error: bss {command} needs {package}: pip install 'bss[{extra}]'\n"
    assert (done.returncode, done.stderr.splitlines(keepends=True)[-1]) == (2, line)
    assert "Traceback" not in done.stderr


def test_the_smallest_extra_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [
        "torch>=2",
        "prefect; extra == 'big'",
        "scikit-learn>=1; extra == 'big'",
        'scikit-learn>=1; extra == "small"',
    ]
    monkeypatch.setattr(importlib.metadata, "requires", lambda _: lines)
    with pytest.raises(SystemExit, match="2"), needs("bss x"):
        raise ModuleNotFoundError("No module named 'sklearn'", name="sklearn")
    assert capsys.readouterr().err == "error: bss x needs scikit-learn: pip install 'bss[small]'\n"


@pytest.mark.parametrize("name", ["torch", "bss.nowhere", "sklearn.nowhere", None])
def test_any_other_missing_module_keeps_its_traceback(name: str | None) -> None:
    with pytest.raises(ModuleNotFoundError), needs("bss x"):
        raise ModuleNotFoundError("No module", name=name)


def test_every_package_that_is_imported_is_asked_for() -> None:
    imported = set()
    for path in (file for folder in ("src", "tasks") for file in (ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module:
                imported.add(node.module.partition(".")[0])
            elif isinstance(node, ast.Import):
                imported |= {alias.name.partition(".")[0] for alias in node.names}
    imported -= {*sys.stdlib_module_names, *WITH_ANOTHER, "bss", "tasks"}
    assert {PACKAGES.get(name, name.replace("_", "-")) for name in imported} <= CORE | EXTRAS
    assert set(PACKAGES) <= imported


def test_types_are_shipped() -> None:
    assert (ROOT / "src/bss/py.typed").is_file()
