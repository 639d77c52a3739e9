"""What a Prefect server does by itself for a workspace: it ends runs that died, and tells people of failures."""

import sys
from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState, SendNotification
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification
from prefect.exceptions import ObjectNotFound

from bss.errors import InputError
from flows.pages.configuration import PATH
from flows.pages.events import POOL, RETRAINING_FAILED

HEARTBEAT = "prefect.flow-run.heartbeat"
HEARTBEAT_SECONDS = 30
"""Between two heartbeats of a run; Prefect allows no shorter time."""
SILENT_SECONDS = 90
"""After so long without a heartbeat a run counts as dead."""
FAILED = ("Failed", "Crashed", "TimedOut")
RUN = "{{ flow.name }} {{ flow_run.name }}: {{ flow_run.state.name }}\n{{ flow_run.state.message }}"
RETRAINING = "Compared with {{ event.payload.base }}:\n{{ event.payload.reasons | join('\\n') }}"


def end_silent_runs(client: SyncPrefectClient, pool: str, deployed: Sequence[str]) -> None:
    """Set the runs of these deployments to Crashed that send no heartbeat any more.

    Args:
        client: of the server.
        pool: the name of the work pool of the workspace.
        deployed: `prefect.deployment.ID` of each deployment.
    """
    trigger = EventTrigger(
        after={HEARTBEAT, "prefect.flow-run.Pending"},  # pending, it has not begun to send any
        expect={
            HEARTBEAT,
            *(f"prefect.flow-run.{state}" for state in ("Completed", "Cancelled", "Failed", "Crashed")),
        },
        match=ResourceSpecification({"prefect.resource.id": ["prefect.flow-run.*"]}),
        match_related=ResourceSpecification({"prefect.resource.id": [*deployed]}),
        for_each={"prefect.resource.id"},
        posture=Posture.Proactive,
        threshold=1,
        within=timedelta(seconds=SILENT_SECONDS),
    )
    action = ChangeFlowRunState(
        name="Crashed", state=StateType.CRASHED, message="killed: no sign of life from it any more", force=False
    )
    name = f"{pool}: runs that are heard of no more have crashed"
    _keep(client, AutomationCore(name=name, trigger=trigger, actions=[action]))


def tell_of_failures(client: SyncPrefectClient, pool: str, deployed: Sequence[str], block: str | None) -> None:
    """Have a notification block tell of failed runs of these deployments, and of retrainings that have failed.

    Where the server has no such block, a line says so and nobody is told: it may have to be made on the pages first.

    Args:
        client: as of `end_silent_runs`.
        pool: likewise.
        deployed: likewise.
        block: its type and name, as in `slack-webhook/team`; None takes the automations away.

    Raises:
        InputError: the block is of a kind that tells nobody anything.
    """
    runs, retrainings = (f"{pool}: {what} are told" for what in ("failed runs", "failed retrainings"))
    document = _notification_block(client, block) if block else None
    if document is None:
        for name in (runs, retrainings):
            for automation in client.read_automations_by_name(name):
                client.delete_automation(automation.id)
        return
    failed = EventTrigger(
        expect={f"prefect.flow-run.{state}" for state in FAILED},
        match=ResourceSpecification({"prefect.resource.id": ["prefect.flow-run.*"]}),
        match_related=ResourceSpecification({"prefect.resource.id": [*deployed]}),
        for_each={"prefect.resource.id"},
        posture=Posture.Reactive,
        threshold=1,
    )
    lost = EventTrigger(
        expect={RETRAINING_FAILED},
        match=ResourceSpecification({"prefect.resource.id": ["bss.workspace.*"], POOL: [pool]}),
        posture=Posture.Reactive,
        threshold=1,
    )
    for name, trigger, text in ((runs, failed, RUN), (retrainings, lost, RETRAINING)):
        action = SendNotification(block_document_id=document, subject=f"{pool}: failed", body=text)
        _keep(client, AutomationCore(name=name, trigger=trigger, actions=[action]))


def _notification_block(client: SyncPrefectClient, block: str) -> UUID | None:
    kind, _, name = block.partition("/")
    try:
        found = client.read_block_document_by_name(name, kind)
    except ObjectNotFound:
        print(
            f"{PATH}: definitions.notify: the server has no block {block}, so nobody is told of failures; "
            "make it on the pages, under Blocks, and open them anew",
            file=sys.stderr,
            flush=True,
        )
        return None
    if "notify" not in (found.block_schema.capabilities if found.block_schema else ()):
        raise InputError(f"{PATH}: definitions.notify: {block} is no notification block, such as slack-webhook/NAME")
    return found.id


def _keep(client: SyncPrefectClient, automation: AutomationCore) -> None:
    # One that is deleted and made anew is known twice to the server for a while, and acts twice.
    if known := client.read_automations_by_name(automation.name):
        client.update_automation(known[0].id, automation)
    else:
        client.create_automation(automation)
