"""Which of two runs of a workspace goes first, and what becomes of the second."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from prefect.client.schemas.objects import State
from prefect.states import Cancelled

from bss.params import checked, read_mapping
from bss.registry import Strict
from flows.workspace import Busy, occupied

CONFIGURATION = Path("prefect.yaml")
SECONDS_BETWEEN_LOOKS = 2.0


class Definitions(Strict):
    """The part of prefect.yaml that Prefect leaves to us."""

    second_run: Literal["queue", "refuse"]
    pool: dict[str, str]


def definitions() -> Definitions:
    """What prefect.yaml defines.

    Raises:
        ValueError: it is missing or wrong.
    """
    return checked(read_mapping(CONFIGURATION).get("definitions", {}), Definitions, CONFIGURATION)


def in_turn(run: Callable[[], State[None]]) -> State[None]:
    """Run when the workspace is free, or say who is at work there: as `second_run` of prefect.yaml wants it.

    The work pool keeps the runs of a worker apart; what is at work here besides may have been started in a terminal.
    """
    told = None
    while True:
        try:
            with occupied():
                return run()
        except Busy as busy:
            if definitions().second_run == "refuse":
                return Cancelled(message=str(busy))
            if str(busy) != told:
                print(told := str(busy), flush=True)
            time.sleep(SECONDS_BETWEEN_LOOKS)
