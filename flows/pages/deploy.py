"""Tells a Prefect server of a workspace: its work pool, its deployments, and what it does about runs by itself."""

import os
import subprocess
import sys
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
from prefect.states import Crashed
from prefect.workers.process import ProcessWorker

from bss.errors import InputError
from flows.pages.automations import end_silent_runs, tell_of_failures
from flows.pages.configuration import Definitions, deployments


def deploy(definitions: Definitions) -> dict[str, str]:
    """Make the pool and the deployments of prefect.yaml, and no others; the deployments with their descriptions.

    Raises:
        InputError: Prefect refuses prefect.yaml, or `definitions.notify` names what is no notification block.
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
        deployed = [f"prefect.deployment.{known.id}" for known in current]
        end_silent_runs(client, definitions.pool.name, deployed)
        tell_of_failures(client, definitions.pool.name, deployed, definitions.notify)
        return {deployment.name: deployment.description or "" for deployment in current}


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
