"""Runs on the machines of a Prefect work pool, started and awaited from here."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any
from uuid import UUID, uuid4

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import State
from prefect.exceptions import ObjectNotFound
from prefect.states import AwaitingRetry, Cancelled, Cancelling

from bss.errors import InputError
from flows.machines.share import fingerprints, share

WORKSPACE = "BSS_WORKSPACE"
"""The variable in a worker's environment that names its clone."""

SECONDS_BETWEEN_LOOKS = 2.0


class MachinePool:
    """A work pool, whose workers run the flow `share`.

    Raises:
        InputError: there is no such pool.
    """

    def __init__(self, name: str, client: SyncPrefectClient) -> None:
        self._client = client
        try:
            client.read_work_pool(name)
        except ObjectNotFound as error:
            raise InputError(f"no work pool {name!r}: prefect work-pool create --type process {name}") from error
        enter = {"prefect.deployments.steps.set_working_directory": {"directory": f"{{{{ ${WORKSPACE} }}}}"}}
        self._deployment = client.create_deployment(
            flow_id=client.create_flow(share),
            name=name,
            work_pool_name=name,
            entrypoint="flows.machines.share.share",
            pull_steps=[enter],
        )

    def run(self, work: Mapping[str, Sequence[str]]) -> dict[str, State[Any]]:
        """Bring the targets of each name up to date in a run of that name; the states in which the runs ended.

        A run that crashed, as one does that begins while the server is away, is started once more.
        """
        runs: dict[str, UUID] = {}
        with self._cancelled_on_exit(runs):
            for name, targets in work.items():
                run = self._client.create_flow_run_from_deployment(
                    self._deployment,
                    name=name,
                    parameters={"targets": list(targets), "expected": fingerprints()},
                    idempotency_key=str(uuid4()),  # the client asks again where the answer was lost
                )
                runs[name] = run.id
            return self._ended(runs)

    def _ended(self, runs: Mapping[str, UUID]) -> dict[str, State[Any]]:
        states: dict[str, State[Any]] = {}
        started_again: set[str] = set()
        while waiting := runs.keys() - states:
            time.sleep(SECONDS_BETWEEN_LOOKS)
            for name in sorted(waiting):
                with suppress(httpx.HTTPError):  # a server that is away for a moment ends nothing
                    state = self._state(runs[name])
                    if state is None or not state.is_final():
                        continue
                    if state.is_crashed() and name not in started_again:
                        self._client.set_flow_run_state(runs[name], AwaitingRetry())
                        started_again.add(name)
                        print(f"{name}: started once more after {state.name}: {state.message}", flush=True)
                    else:
                        states[name] = state
                        print(f"{name}: {state.name}: {state.message}", flush=True)
        return states

    def _state(self, run: UUID) -> State[Any] | None:
        try:
            return self._client.read_flow_run(run).state
        except ObjectNotFound:
            return Cancelled(message="the run was deleted at the server")

    @contextmanager
    def _cancelled_on_exit(self, runs: Mapping[str, UUID]) -> Iterator[None]:
        """Stop the machines where this run is stopped."""
        try:
            yield
        except BaseException:
            with suppress(httpx.HTTPError):
                for run in runs.values():
                    with suppress(ObjectNotFound):  # deleted
                        self._client.set_flow_run_state(run, Cancelling())  # refused where it has ended
            raise


@contextmanager
def opened(name: str) -> Iterator[MachinePool]:
    """A work pool for the length of a block."""
    with get_client(sync_client=True) as client:
        yield MachinePool(name, client)
