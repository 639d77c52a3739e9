"""A run with other values than those of params.yaml, which stays as it is.

It works in a workspace of its own, with the cache of this one: what was computed anywhere is not computed again, and
both can be at work at the same time. With a name, DVC keeps it as one of its experiments.
"""

import os
import re
import shutil
from collections.abc import Iterator, Mapping, Set
from contextlib import chdir, contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Self

from bss.data.datasets._fetch import SHARED, VARIABLE
from bss.errors import InputError
from bss.params import Params
from bss.parsing import checked, read_mapping
from bss.paths import HERE, Workspace
from flows.revisions import git_commands as git
from flows.studies.study import Raw, overlaid
from flows.studies.workspaces import PARTS, create, prepare

NAME = re.compile(r"[\w.-]*\w[\w.-]*")
MAX_LABEL = 60
RESULTS = (HERE.lock, HERE.all_metrics, HERE.plots, HERE.validation)
"""What git keeps of a run."""


@dataclass(frozen=True)
class Experiment:
    """The parameters of such a run, and the places that it has under its label."""

    params: Params
    raw: Raw
    """The same as plain values, to be written."""
    label: str
    """Its name, or else the values that differ."""
    is_named: bool

    @classmethod
    def of(cls, values: Mapping[str, Any], name: str | None = None) -> Self:
        """The run of params.yaml with other values at some of its dotted keys.

        Raises:
            InputError: the values do not fit, the name is none, or DVC has an experiment of that name.
        """
        if name is not None:
            _expect_new(name)
        raw = overlaid(read_mapping(HERE.params), values, may_add=True)
        params = checked(raw, Params, HERE.params)
        return cls(params, raw, name or _label(values), is_named=name is not None)

    @property
    def workspace(self) -> Workspace:
        """Where it works."""
        return Workspace(HERE.temporary.absolute() / "runs" / self.label)

    @property
    def results(self) -> Path:
        """The folder of what people read of it."""
        return HERE.reports.absolute() / "runs" / self.label

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Work in its workspace for the length of a block; what people read lies among the reports afterwards."""
        os.environ.setdefault(
            VARIABLE, str(SHARED.resolve())
        )  # the path is relative, and the workspace lies elsewhere
        is_new = create(self.workspace)
        for path in RESULTS if is_new else ():  # what is up to date here need not be found in the cache
            _copy(path, self.workspace.folder / path)
        prepare(self.workspace, self.raw)
        with chdir(self.workspace.folder):
            yield
        _copy(self.workspace.reports, self.results, {HERE.all_predictions.name})

    def keep(self) -> None:
        """Have DVC keep it as an experiment on top of the last commit, where it has a name."""
        if self.is_named:
            git.add_experiment(self.label, self.workspace.folder, (*map(Path, PARTS), HERE.params, *RESULTS))


def _label(values: Mapping[str, Any]) -> str:
    """The values as the name of a folder."""
    text = ",".join(f"{key}={value}" for key, value in sorted(values.items()))
    readable = re.sub(r"[^\w.=,-]+", "_", text).strip("_")
    if len(readable) <= MAX_LABEL and readable == text:
        return readable
    return f"{readable[:MAX_LABEL]}-{sha256(text.encode()).hexdigest()[:6]}"


def _expect_new(name: str) -> None:
    if not NAME.fullmatch(name):
        raise InputError(f"--name {name!r}: expected letters, digits, '-', '_' and '.'")
    if git.commit("HEAD") is None:
        raise InputError(f"--name {name}: an experiment stands on a commit, and git has none here; commit first")
    if name in git.experiments():
        raise InputError(f"--name {name}: DVC has an experiment of that name; another one, or dvc exp remove {name}")


def _copy(source: Path, target: Path, left_out: Set[str] = frozenset()) -> None:
    """Have the files of a place in another one, in the place of what is there."""
    if source.is_dir():
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(source, target, ignore=lambda _, names: left_out & set(names))
    elif source.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target)
