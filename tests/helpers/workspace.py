"""A scratch workspace: the project as a fresh clone would be, on a slice of the embedded data."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from flows.workspace.children import Children
from flows.workspace.forkserver import FOLDER
from tests.helpers import ROOT, python_path

PARTS = ["src", "tasks", "flows", "dvc.yaml", ".dvcignore", ".gitignore", "params.yaml", "data/sample"]
TINY = '''"""A slice of the embedded digits: 12 pairs a class, so that the whole pipeline takes seconds."""

from pathlib import Path

import polars as pl

from bss.data.datasets.digits import Digits


class Tiny(Digits):
    """The first pairs of each class and split."""

    def items(self, root: Path) -> pl.DataFrame:
        """As `Digits`, shortened."""
        return super().items(root).group_by("split", "label", maintain_order=True).head(4)
'''


def locked(folder: Path) -> dict[str, Any]:
    """What dvc.lock tells of a workspace."""
    lock: dict[str, Any] = yaml.safe_load((folder / "dvc.lock").read_text())
    return lock


class Workspace:
    """A folder with the project in it, a git repository unless `git` is false, and an empty DVC cache."""

    def __init__(self, folder: Path, forkservers: Path | None = None, *, git: bool = True) -> None:
        self.folder, self.forkservers = folder, forkservers
        for part in PARTS:
            target = folder / part
            target.parent.mkdir(parents=True, exist_ok=True)
            put = shutil.copytree if (ROOT / part).is_dir() else shutil.copy
            put(ROOT / part, target)
        (folder / "src/bss/data/datasets/tiny.py").write_text(TINY)
        if git:
            self.run("git", "init", "-q")
        self.dvc("init", "-q", *([] if git else ["--no-scm"]))
        self.dvc("config", "core.analytics", "false")

    @classmethod
    def at(cls, folder: Path, forkservers: Path | None = None) -> "Workspace":
        """The workspace that was made in a folder before."""
        made = cls.__new__(cls)
        made.folder, made.forkservers = folder, forkservers
        return made

    def clone(self, folder: Path) -> "Workspace":
        """What is committed, as another person or a runner has it; its cache is empty."""
        subprocess.run(["git", "clone", "-q", str(self.folder), str(folder)], check=True)
        return self._at(folder)

    def copied(self, folder: Path) -> "Workspace":
        """The same in another folder, with its results and its cache."""
        shutil.copytree(self.folder, folder, symlinks=True)
        return self._at(folder)

    def _at(self, folder: Path) -> "Workspace":
        return Workspace.at(folder, self.forkservers)

    @property
    def environment(self) -> dict[str, str]:
        """The running interpreter first, and the library of this folder before the installed one."""
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        own = {"PATH": path, "PYTHONPATH": python_path(self.folder / "src"), "DO_NOT_TRACK": "1"}
        own["PREFECT_HOME"] = str(self.folder.parent / "prefect")
        return os.environ | own | ({FOLDER: str(self.forkservers)} if self.forkservers else {})

    def run(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            command, check=False, cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=500
        )
        assert not check or done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
        return done

    def dvc(self, *arguments: str) -> str:
        """What `dvc` prints, as a run starts it where there are fork servers."""
        if self.forkservers is None:
            done = self.run(sys.executable, "-m", "dvc", *arguments)
            return done.stdout + done.stderr
        printed: list[str] = []
        try:
            with Children().run("flows.workspace.repro", arguments, self.environment, self.folder) as lines:
                printed.extend(lines)
        except subprocess.CalledProcessError as error:
            raise AssertionError(f"{error}\n{''.join(printed)}") from error
        return "".join(printed)

    def reproduce(self) -> set[str]:
        """The names of the stages that `dvc repro` ran."""
        return set(re.findall(r"^Running stage '(.+)':", self.dvc("repro"), flags=re.MULTILINE))

    def changed(self) -> set[str]:
        """The names of the stages that `dvc status` finds to have other inputs than in the last run."""
        return set(json.loads(self.run(sys.executable, "-m", "dvc", "status", "--json").stdout))

    def flow(self) -> set[str]:
        """The names of the stages that the Prefect flow ran."""
        done = self.run("python", "-m", "bss", "run")
        assert re.search(r"^report: /.*/reports/report\.html$", done.stdout, flags=re.MULTILINE)
        return set(re.findall(r"^ *\d+/\d+ Completed +(\S+)", done.stdout, flags=re.MULTILINE))

    def set(self, **values: Any) -> None:
        """Change params.yaml: `train__epochs=3` sets train.epochs."""
        path = self.folder / "params.yaml"
        raw = yaml.safe_load(path.read_text())
        for key, value in values.items():
            *above, last = key.split("__")
            section = raw
            for name in above:
                section = section[name]
            section[last] = value
        path.write_text(yaml.safe_dump(raw, sort_keys=False))

    def shrink(self) -> None:
        """The smallest grid that has every stage in it."""
        self.set(
            preprocess__name="tiny",
            encoders={name: {"name": "mlp", "width": 8, "num_layers": 1} for name in ("audio", "image")},
            warmup__epochs=1, train__epochs=1, curriculum__epochs=4,
            grid__schedulers=["random", "learned"], grid__seeds=[0],
        )  # fmt: skip
