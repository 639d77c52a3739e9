"""The DVC graph of a workspace as a Prefect flow."""

import queue
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from graphlib import TopologicalSorter
from typing import Any
from uuid import UUID

import httpx
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.futures import PrefectFuture
from prefect.runtime import flow_run
from prefect.states import Cancelled, Completed, Failed
from prefect.task_runners import ThreadPoolTaskRunner

from bss.params import load
from bss.paths import HERE
from flows.graph.machine import Machine, usable_gpus
from flows.graph.outcome import keep_outcome
from flows.graph.pace import Pace
from flows.graph.plan import Planned, plan
from flows.graph.stages import RESUMING_STAGES, run_stages
from flows.graph.terminal import Terminal
from flows.workspace.children import Children
from flows.workspace.forkserver import forkservers
from flows.workspace.lock import occupied
from flows.workspace.repair import repair

SECONDS_BETWEEN_LOOKS = 3.0
NUM_RETRIES = 1


@flow(persist_result=False, retries=0)
def pipeline(
    targets: list[str] | None = None, max_parallel: int | None = None, gpus: list[str] | None = None
) -> State[None]:
    """Bring the stages of the current workspace up to date, side by side where the graph allows it.

    Args:
        targets: stages to bring up to date with what they need; all of them by default.
        max_parallel: stages at a time; `flow.max_parallel` of params.yaml by default.
        gpus: devices, each lent to one stage at a time; those that are visible by default.

    Raises:
        ValueError: an unknown target, a wrong params.yaml or a wrong dvc.yaml.
        Busy: another run is at work in the workspace.
    """
    params = load(HERE.params)
    if gpus is None:
        gpus = usable_gpus(params.runtime.device)
    if max_parallel is None:
        max_parallel = params.max_parallel
    with occupied():
        return reproduce(targets or [], max_parallel, gpus)


def reproduce(targets: Sequence[str], max_parallel: int, gpus: list[str], retries: int = NUM_RETRIES) -> State[None]:
    """Do what `pipeline` does, in a flow run that has occupied the workspace.

    Args:
        retries: how often a stage that was killed and goes on from a checkpoint is started again.
    """
    repair()
    planned = plan(targets)
    with forkservers(sum(stage.stale for stage in planned)):
        states = run(planned, Machine(gpus), max_parallel, retries)
    if (verdict := judge(states)).is_completed() and "report" in states:
        keep_outcome()
    return verdict


def run(
    planned: Sequence[Planned], machine: Machine, max_parallel: int, retries: int = NUM_RETRIES, num_later: int = 0
) -> dict[str, State[Any]]:
    """Run each when all its upstreams have ended; one whose upstream failed ends as `NotReady`.

    Args:
        planned: each after its upstreams.
        machine: for all of them.
        max_parallel: how many at a time.
        retries: how often one that was killed and goes on from a checkpoint is started again.
        num_later: how many will be planned when these have ended, for the time left.
    """
    stages = {stage.name: stage for stage in planned}
    order = TopologicalSorter({stage.name: stage.upstream for stage in planned})
    order.prepare()
    terminal = Terminal(planned, Pace(planned, max_parallel, num_later))
    futures: dict[str, PrefectFuture[Any]] = {}
    names: dict[PrefectFuture[Any], str] = {}
    ended: queue.Queue[PrefectFuture[Any]] = queue.Queue()
    pool: ThreadPoolTaskRunner[Any] = ThreadPoolTaskRunner(max_workers=max_parallel)
    # The pool waits for its threads when it is left, so the children have to be stopped inside.
    with pool, stopped_on_exit(machine.children), terminal.bar():
        while order.is_active():
            for name in order.get_ready():
                futures[name] = submit(stages[name], futures, machine, pool, retries)
                names[futures[name]] = name
                futures[name].add_done_callback(ended.put)
            future = ended.get()
            future.wait()
            terminal.show(names[future], future.state, machine.seconds)
            order.done(names[future])
    return {name: future.state for name, future in futures.items()}


def submit(
    planned: Planned,
    futures: dict[str, PrefectFuture[Any]],
    machine: Machine,
    pool: ThreadPoolTaskRunner[Any],
    retries: int,
) -> PrefectFuture[Any]:
    """Hand it to the pool as a task of its name."""
    retries = retries if planned.kinds & RESUMING_STAGES else 0
    tags = {"gpu"} if machine.lends_gpu(planned) else set()
    named = run_stages.with_options(name=planned.name, task_run_name=planned.name, tags=tags, retries=retries)
    waits = [futures[name] for name in planned.upstream]
    return pool.submit(named, {"planned": planned, "machine": machine}, wait_for=waits)


def judge(states: dict[str, State[Any]]) -> State[None]:
    """The state of the run: completed if every stage is."""
    count = Counter(state.name for state in states.values())
    message = ", ".join(f"{number} {name}" for name, number in sorted(count.items()))
    if any(state.is_cancelled() for state in states.values()):
        return Cancelled(message=message)
    if all(state.is_completed() for state in states.values()):
        return Completed(message=message)
    return Failed(message=message)


@contextmanager
def stopped_on_exit(children: Children) -> Iterator[None]:
    """Stop the children at Ctrl-C, at SIGTERM, and when the run is cancelled at the server."""
    over = threading.Event()
    threading.Thread(target=_watch, args=(flow_run.id, children, over), daemon=True).start()
    try:
        yield
    except BaseException:
        children.stop()
        raise
    finally:
        over.set()


def _watch(run_id: str, children: Children, over: threading.Event) -> None:
    with get_client(sync_client=True) as client:
        while not over.wait(SECONDS_BETWEEN_LOOKS):
            with suppress(httpx.HTTPError):  # a server that is away for a moment cancels nothing
                state = client.read_flow_run(UUID(run_id)).state
                if state is not None and (state.is_cancelled() or state.is_cancelling()):
                    children.stop()
                    return
