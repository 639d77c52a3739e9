"""A run of a worker waits until the workspace is free, or ends at once, as prefect.yaml wants it."""

import os
import time
from collections.abc import Callable
from pathlib import Path

from prefect import get_run_logger
from prefect.client.schemas.objects import State
from prefect.states import Cancelled

from bss.errors import Busy
from flows.graph.terminal import tell
from flows.pages.configuration import definitions
from flows.workspace.lifeline import end_with_holder
from flows.workspace.lock import occupied

OPEN = "BSS_OPEN"
"""The variable with the path of the file that `make ui` locks while it is open."""
SECONDS_BETWEEN_LOOKS = 2.0


def in_turn(run: Callable[[], State[None]]) -> State[None]:
    """Run when the workspace is free; or end as Cancelled, where `second_run` of prefect.yaml is `refuse`.

    The work pool keeps the runs of a worker apart, but a run may also have been started in a terminal.
    """
    if (lock := os.environ.pop(OPEN, None)) is not None:
        end_with_holder(Path(lock))  # its worker cannot stop it where that was killed and started again
    waiting_for = None
    while True:
        try:
            with occupied():
                return run()
        except Busy as busy:
            if definitions().second_run == "refuse":
                return Cancelled(message=str(busy))
            if str(busy) != waiting_for:
                tell(waiting_for := str(busy))
                get_run_logger().info("waiting: %s", busy)
            time.sleep(SECONDS_BETWEEN_LOOKS)
