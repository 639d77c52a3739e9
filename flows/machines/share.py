"""The flow that a machine of a work pool runs: some cells of the grid, in a clone of its own."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Failed

from bss.paths import HERE
from flows.graph.flow import pipeline
from flows.machines.remote import push, restore
from flows.workspace.lock import occupied
from flows.workspace.repair import repair

PARTS = ("src", "tasks", "flows", str(HERE.sample), "dvc.yaml", str(HERE.params), "requirements.lock")
"""These have to be the same on all machines. DVC would mix up nothing, but compute what nobody asked for."""


@flow(persist_result=False, retries=0)
def share(targets: list[str], expected: dict[str, str]) -> State[None]:
    """Fetch what is there already, bring the targets up to date, and send what is done to the remote.

    Args:
        targets: stages; what they need comes along.
        expected: `fingerprints` of the workspace that asks.

    Raises:
        Busy: another run is at work in this clone.
    """
    here = fingerprints()
    if different := sorted(part for part in here.keys() | expected if here.get(part) != expected.get(part)):
        return Failed(
            message=f"{Path.cwd()} differs from the sender in {', '.join(different)}; bring both to one commit "
            "and one params.yaml"
        )
    with occupied():
        repair()
    restore(targets)
    verdict = pipeline.fn(targets)  # in this run, so that cancelling it stops the stages
    push(targets)  # after a failure too: the others' results are not lost
    return verdict


def fingerprints() -> dict[str, str]:
    """A hash of each of `PARTS` that is in the current folder, by names and contents."""
    return {part: _fingerprint(Path(part)) for part in PARTS if Path(part).exists()}


def _fingerprint(part: Path) -> str:
    whole = hashlib.sha256()
    for path in sorted(_files(part)):
        whole.update(f"{path.as_posix()}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return whole.hexdigest()


def _files(part: Path) -> Iterator[Path]:
    for path in part.rglob("*") if part.is_dir() else [part]:
        if path.is_file() and "__pycache__" not in path.parts and not path.name.startswith(".~"):
            yield path
