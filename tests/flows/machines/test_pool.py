"""The runs of a work pool as the sender sees them, at a real server; the test does what its workers would."""

import contextvars
import threading
import time
from collections.abc import Iterator

import httpx
import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.objects import State
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Completed, Crashed, Failed, Pending, Running

from flows.machines import pool
from flows.machines.pool import MachinePool

pytestmark = pytest.mark.xdist_group("flow")  # one worker, so that one server serves them all
SECONDS_TO_WAIT = 60.0


@pytest.fixture
def client(api: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[SyncPrefectClient]:
    monkeypatch.setattr(pool, "SECONDS_BETWEEN_LOOKS", 0.1)
    with temporary_settings({PREFECT_API_URL: api}), get_client(sync_client=True) as client:
        yield client


def machines(name: str, client: SyncPrefectClient) -> MachinePool:
    client.create_work_pool(WorkPoolCreate(name=name, type="process"), overwrite=True)
    return MachinePool(name, client)


def work(name: str, ends: dict[str, list[State[None]]]) -> threading.Thread:
    """Do what the worker of a pool does, until each run has ended in its states, one after the other."""

    def take() -> None:
        deadline = time.monotonic() + SECONDS_TO_WAIT
        with get_client(sync_client=True) as client:
            while any(ends.values()) and time.monotonic() < deadline:
                for response in client.get_scheduled_flow_runs_for_work_pool(name):
                    run = response.flow_run
                    if ends.get(run.name):
                        for state in (Pending(), Running(), ends[run.name].pop(0)):
                            client.set_flow_run_state(run.id, state)
                time.sleep(0.1)

    thread = threading.Thread(target=contextvars.copy_context().run, args=[take])  # with the settings of this one
    thread.start()
    return thread


def test_a_run_that_crashed_is_started_once_more_and_no_other(
    client: SyncPrefectClient, capsys: pytest.CaptureFixture[str]
) -> None:
    mortal = machines("mortal", client)
    ends: dict[str, list[State[None]]] = {
        "unlucky": [Crashed(message="killed"), Completed()],
        "hopeless": [Crashed(message="killed"), Crashed(message="again")],
        "wrong": [Failed(message="wrong")],
    }
    worker = work("mortal", ends)
    states = mortal.run({name: [] for name in ends})
    worker.join()
    assert {name: (state.name, state.message) for name, state in states.items()} == {
        "unlucky": ("Completed", None),
        "hopeless": ("Crashed", "again"),
        "wrong": ("Failed", "wrong"),
    }
    printed = capsys.readouterr().out
    assert "unlucky: started once more after Crashed: killed\n" in printed and "hopeless: Crashed: again\n" in printed


def test_where_the_answer_to_a_request_is_lost_there_is_one_run_all_the_same(
    client: SyncPrefectClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    once = machines("once", client)
    lost: list[bytes] = []
    transport = client._client._transport
    handle = transport.handle_request

    def lose_the_first(request: httpx.Request) -> httpx.Response:
        response = handle(request)
        if request.url.path.endswith("/create_flow_run") and not lost:
            lost.append(response.read())
            raise httpx.ReadError("the server is gone")
        return response

    monkeypatch.setattr(transport, "handle_request", lose_the_first)
    worker = work("once", {"seed 0": [Completed()]})
    states = once.run({"seed 0": []})
    worker.join()
    runs = [run for run in client.read_flow_runs(limit=200) if run.deployment_id == once._deployment]
    assert (len(lost), len(runs), states["seed 0"].name) == (1, 1, "Completed")


def test_a_run_that_is_deleted_ends_no_other(client: SyncPrefectClient) -> None:
    emptied = machines("emptied", client)
    runs = {name: client.create_flow_run_from_deployment(emptied._deployment).id for name in ("deleted", "kept")}
    client.delete_flow_run(runs["deleted"])
    state = emptied._ended({"deleted": runs["deleted"]})["deleted"]
    assert (state.name, state.message) == ("Cancelled", "the run was deleted at the server")
    with pytest.raises(KeyboardInterrupt), emptied._cancelled_on_exit(runs):
        raise KeyboardInterrupt
    left = client.read_flow_run(runs["kept"]).state
    assert left is not None and left.name in ("Cancelling", "Cancelled")
