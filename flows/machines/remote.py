"""The DVC remote that machines share: the outputs of stages, with the entries by which others find them.

`dvc push --run-cache` and `dvc pull --run-cache` are not enough. The first leaves out the metrics, which git keeps,
so that the entry of `evaluate` names a file that nobody has; the second brings entries without what they name.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bss.errors import Unavailable
from bss.wording import counted
from flows.graph.plan import plan
from flows.workspace.environment import as_user
from flows.workspace.lock import occupied, repository

if TYPE_CHECKING:
    from dvc.repo import Repo
    from dvc.stage import Stage


def push(targets: Sequence[str] = ()) -> None:
    """Send those of the stages that are up to date, and of what they need, to the default remote.

    Raises:
        Busy: another DVC process holds the workspace.
        Unavailable: something did not arrive.
        ValueError: an unknown target, or a remote that DVC cannot use.
    """
    current = [stage.name for stage in plan(targets) if not stage.stale]
    with as_user(), repository() as repo:
        stages = _by_name(repo)
        for name in current:  # one that was checked out rather than run has no entry yet
            repo.stage_cache.save(stages[name])
        # The entries last: one that is found names nothing that is still on its way.
        sent = repo.cloud.push(set().union(*(_files(stages[name]) for name in current)))
        if sent.failed:
            raise Unavailable(f"{counted(len(sent.failed), 'file')} did not reach the DVC remote")
        repo.stage_cache.push(None)


def restore(targets: Sequence[str] = ()) -> set[str]:
    """Fetch results that the remote has into cache and workspace; the names of the stages whose results are here.

    The next run finds them in the run-cache.

    Raises:
        Busy: another run is at work in the workspace.
        ValueError: an unknown target, or a remote that DVC cannot use.
    """
    planned = plan(targets)
    here: set[str] = set()
    with as_user(), occupied(), repository() as repo:
        repo.stage_cache.pull(None)
        stages = _by_name(repo)
        for stage in planned:
            if here.issuperset(stage.upstream) and (not stage.stale or _is_restored(stages[stage.name])):
                here.add(stage.name)
    return here


def has_remote() -> bool:
    """Whether the workspace has a default remote."""
    from dvc.repo import Repo

    with Repo() as repo:
        return bool(repo.config["core"].get("remote"))


def _files(stage: "Stage") -> set[Any]:
    """The hashes of the outputs of a stage, those that git keeps among them."""
    return set().union({out.hash_info for out in stage.outs if not out.use_cache}, *stage.get_used_objs().values())


def _is_restored(stage: "Stage") -> bool:
    from dvc.exceptions import ConfirmRemoveError
    from dvc.stage.cache import RunCacheNotFoundError

    cache = stage.repo.stage_cache
    try:
        try:
            cache.restore(stage, pull=True)
        except ConfirmRemoveError:  # of metrics, which git keeps and DVC does not: they are of another state
            stage.remove_outs()
            anew = stage.reload()  # the first look has left hashes of deps in the other, beside outs of the lock
            cache.restore(anew, pull=True)
    except RunCacheNotFoundError:
        return False
    return True


def _by_name(repo: "Repo") -> "dict[str, Stage]":
    return {stage.addressing: stage for stage in repo.index.stages}
