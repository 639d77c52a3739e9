"""Finds the processes at work in a workspace: stages, and the DVC that started them."""

import json
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from bss.locks import holder

CLOCK_SECONDS = 2.0
"""How much later than the file that names it a process may seem to have started."""


@dataclass(frozen=True)
class Work:
    """A process that is at work, and whether a flow started it."""

    pid: int
    of_flow: bool


def at_work(temporary: Path) -> Work | None:
    """One of the processes at work in the workspace of this `.dvc/tmp`, if there is any."""
    return next(chain(_running_dvc(temporary / "rwlock"), _running_stages(temporary / "stages")), None)


def _running_dvc(path: Path) -> Iterator[Work]:
    for entry in _entries(path):
        if _lives(entry["pid"], path.stat().st_mtime):
            yield Work(entry["pid"], of_flow="flows/workspace/repro.py" in entry["cmd"])


def _entries(path: Path) -> list[dict[str, Any]]:
    """The processes in DVC's lock of paths; a killed one leaves its entries there, or half a file."""
    for _ in range(5):  # a living DVC writes in place
        with suppress(json.JSONDecodeError, FileNotFoundError):
            noted = json.loads(path.read_text(encoding="utf-8"))
            return [*noted.get("write", {}).values(), *chain(*noted.get("read", {}).values())]
        time.sleep(0.05)
    return []


def _lives(pid: int, noted: float) -> bool:
    """Whether the process lives that was noted at this time; a younger one merely has its number."""
    import psutil  # type: ignore[import-untyped]

    try:
        return bool(psutil.Process(pid).create_time() < noted + CLOCK_SECONDS)
    except psutil.NoSuchProcess:
        return False


def _running_stages(folder: Path) -> Iterator[Work]:
    """The stages that hold their locks, as they do while they live: `tasks.alone`."""
    for path in sorted(folder.glob("*")):
        if (pid := holder(path)) is not None:
            yield Work(pid, of_flow=True)
