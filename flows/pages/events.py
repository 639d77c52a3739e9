"""Events of a workspace, for the Prefect server that is there: what happened here that it, or people, should know."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flows.pages.configuration import definitions
from flows.pages.server import ADDRESS, HOST, PORT, check, use

CHANGED = "bss.workspace.changed"
"""Data, params.yaml or code are newer than the results."""
RETRAINING_FAILED = "bss.retraining.failed"
"""A retraining has failed, or a row of it has lost too much."""
POOL = "bss.pool"
"""The label of an event with the work pool of prefect.yaml, which is the same in every clone of a repository."""


def choose_server(is_named: bool) -> None:
    """Have Prefect use the server of the user's settings, or else the one of `make ui`.

    Args:
        is_named: whether the user's settings name one.

    Raises:
        Unavailable: none answers.
    """
    if not is_named:
        use(ADDRESS.read_text(encoding="utf-8") if ADDRESS.exists() else f"http://{HOST}:{PORT}/api")
    check()


def send(event: str, payload: Mapping[str, Any]) -> None:
    """Send an event of this workspace to the server that Prefect uses."""
    from prefect.events import Event
    from prefect.events.clients import get_events_client
    from prefect.events.schemas.events import Resource

    labels = {"prefect.resource.id": f"bss.workspace.{Path.cwd().name}", POOL: definitions().pool.name}

    async def emit() -> None:
        async with get_events_client() as client:
            await client.emit(Event(event=event, resource=Resource(labels), payload=dict(payload)))

    asyncio.run(emit())
