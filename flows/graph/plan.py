"""The stages of the DVC graph in the order in which they can run, each up to date or not.

`python -m flows.graph.plan [TARGET ...]` mends the workspace that is the current folder, and prints its plan as JSON.
"""

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bss.paths import HERE
from flows.workspace.lock import repository
from flows.workspace.repair import repair
from flows.workspace.repro import parameters_read_once

if TYPE_CHECKING:
    from dvc.repo import Repo
    from dvc.stage import Stage


@dataclass(frozen=True)
class Planned:
    """Stages that run one after the other in one process; most often one."""

    name: str
    upstream: tuple[str, ...]
    """The names of those that have to end before."""
    stale: bool
    """Whether it has to run."""
    stages: tuple[str, ...]
    """Their names in dvc.yaml, in the order in which they can run."""
    folder: Path = HERE.folder
    """Their workspace."""

    @property
    def kinds(self) -> set[str]:
        """`train` for `train@joint-random-0` and `train-alone@...`."""
        return set(map(kind, self.stages))


def kind(stage: str) -> str:
    """The verb of a stage: `train` of `train@joint-random-0` and of `train-alone@...`."""
    return stage.partition("@")[0].partition("-")[0]


def plan(targets: Sequence[str] = (), allow_missing: bool = False) -> list[Planned]:
    """The stages of the current workspace, each after those it depends on.

    A target is a stage (`train@joint-random-0`) or all cells of a matrix (`train`); what it needs upstream
    comes along. No target means the whole graph. A stage is stale if DVC says so, or if an upstream is. Where
    artifacts may be missing, those that are not here count as dvc.lock has them: `dvc repro --allow-missing`.

    Raises:
        ValueError: no such stage, or dvc.yaml is wrong.
        Busy: another DVC process holds the workspace.
    """
    with repository() as repo, parameters_read_once():
        return _planned(_graph(repo, targets), targets, allow_missing)


def counted(planned: Sequence[Planned]) -> str:
    """How many stages have to run, for a person."""
    num_stale = sum(stage.stale for stage in planned)
    return f"stages: {num_stale} to run, {len(planned) - num_stale} up to date"


def _graph(repo: "Repo", targets: Sequence[str]) -> Any:
    graph = repo.index.graph
    for target in targets:
        _check_known(target, {stage.addressing for stage in graph})
    return graph


def _planned(graph: Any, targets: Sequence[str], allow_missing: bool) -> list[Planned]:
    planned: dict[str, Planned] = {}
    for stage in sorted(graph, key=lambda stage: stage.addressing):
        if not targets or _is_named(stage, targets):
            _add(stage, graph, planned, allow_missing)
    return list(planned.values())


def _add(stage: "Stage", graph: Any, planned: dict[str, Planned], allow_missing: bool) -> None:
    """Add a stage after what it depends on; an edge of DVC's graph points from a stage to its dependency."""
    if stage.cmd is None or stage.addressing in planned:
        return
    upstream = [other for other in graph.successors(stage) if other.cmd is not None]
    for other in upstream:
        _add(other, graph, planned, allow_missing)
    names = tuple(other.addressing for other in upstream)
    changed = stage.changed(allow_missing=True, upstream=upstream) if allow_missing else bool(stage.status())
    stale = any(planned[name].stale for name in names) or changed
    planned[stage.addressing] = Planned(stage.addressing, names, stale, (stage.addressing,))


def _is_named(stage: "Stage", targets: Iterable[str]) -> bool:
    return not {stage.addressing, stage.addressing.partition("@")[0]}.isdisjoint(targets)


def _check_known(target: str, names: set[str]) -> None:
    from bss.registry import UnknownName

    groups = {name.partition("@")[0] for name in names}
    if target not in names | groups:
        raise UnknownName("stage", target, groups if "@" not in target else names)


if __name__ == "__main__":
    repair()
    print(json.dumps([(stage.name, stage.upstream, stage.stale) for stage in plan(sys.argv[1:])]))
