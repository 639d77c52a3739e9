"""Tells a Prefect server of a workspace: its work pool, its deployments, and that dead runs have crashed."""

import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification
from prefect.states import Crashed
from prefect.workers.process import ProcessWorker

from bss.errors import InputError
from flows.pages.configuration import Definitions, deployments

HEARTBEAT = "prefect.flow-run.heartbeat"
HEARTBEAT_SECONDS = 30
"""Between two heartbeats of a run; Prefect allows no shorter time."""
SILENT_SECONDS = 90
"""After so long without a heartbeat a run counts as dead."""


def deploy(definitions: Definitions) -> dict[str, str]:
    """Make the pool and the deployments of prefect.yaml, and no others; the deployments with their descriptions.

    Raises:
        InputError: Prefect refuses prefect.yaml.
    """
    with get_client(sync_client=True) as client:
        _make_pool(client, definitions)
        command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"]
        environment = {**os.environ, "PYTHONPATH": import_path(), "COLUMNS": "1000"}
        done = subprocess.run(command, check=False, env=environment, capture_output=True, text=True)
        if done.returncode:
            raise InputError(f"prefect.yaml was not deployed\n{(done.stdout + done.stderr).strip()[-2000:]}")
        names, current = deployments(), []
        for deployment in client.read_deployments(work_pool_filter=_named(definitions.pool.name)):
            if deployment.name in names:
                current.append(deployment)
            elif (deployment.entrypoint or "").startswith("flows.pages.deployed."):
                client.delete_resource_owned_automations(f"prefect.deployment.{deployment.id}")
                client.delete_deployment(deployment.id)  # or its schedule would go on
        _watch_for_zombies(client, definitions.pool.name, [f"prefect.deployment.{known.id}" for known in current])
        return {deployment.name: deployment.description or "" for deployment in current}


def _watch_for_zombies(client: SyncPrefectClient, pool: str, deployed: list[str]) -> None:
    """Set the runs of these deployments to Crashed that send no heartbeat any more."""
    automation = AutomationCore(
        name=f"{pool}: runs that are heard of no more have crashed",
        trigger=EventTrigger(
            after={HEARTBEAT, "prefect.flow-run.Pending"},  # pending, it has not begun to send any
            expect={
                HEARTBEAT,
                *(f"prefect.flow-run.{state}" for state in ("Completed", "Failed", "Cancelled", "Crashed")),
            },
            match=ResourceSpecification({"prefect.resource.id": ["prefect.flow-run.*"]}),
            match_related=ResourceSpecification({"prefect.resource.id": deployed}),
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=timedelta(seconds=SILENT_SECONDS),
        ),
        actions=[
            ChangeFlowRunState(
                name="Crashed",
                state=StateType.CRASHED,
                message="killed: no sign of life from it any more",
                force=False,
            )
        ],
    )
    if known := client.read_automations_by_name(automation.name):
        client.update_automation(known[0].id, automation)
    else:
        client.create_automation(automation)


def end_lost_runs(pool: str) -> None:
    """Set the unfinished runs of a pool to Crashed; no worker is left that could go on with them."""
    kinds = [StateType.PENDING, StateType.RUNNING, StateType.CANCELLING]
    unfinished = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=kinds)))
    with get_client(sync_client=True) as client:
        for run in client.read_flow_runs(flow_run_filter=unfinished, work_pool_filter=_named(pool)):
            client.set_flow_run_state(run.id, Crashed(message="killed with the worker"), force=True)


def _named(pool: str) -> WorkPoolFilter:
    return WorkPoolFilter(name=WorkPoolFilterName(any_=[pool]))


def import_path() -> str:
    """PYTHONPATH with which a process that begins elsewhere finds the code of this workspace."""
    return os.pathsep.join(filter(None, [str(Path.cwd()), os.environ.get("PYTHONPATH")]))


def _make_pool(client: SyncPrefectClient, definitions: Definitions) -> None:
    pool = WorkPoolCreate(
        name=definitions.pool.name,
        type=ProcessWorker.type,
        base_job_template=ProcessWorker.get_default_base_job_template(),
        concurrency_limit=1 if definitions.second_run == "queue" else None,
    )
    client.create_work_pool(pool, overwrite=True)
