"""Stages of the DVC graph as a Prefect task."""

import re
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from subprocess import CalledProcessError
from typing import Any, cast
from uuid import UUID

from prefect import get_run_logger, task
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Cancelled, Completed, Failed

from bss.paths import HERE, Workspace
from flows.graph.machine import Machine
from flows.graph.output import WARNING, Progress, begun, is_noise, reason, shortcut, tells_a_kill
from flows.graph.plan import Planned, kind
from flows.workspace.children import Stopped

RESUMING_STAGES = {"warmup", "train", "acquire"}
NUM_ERROR_LINES = 12
KILLED = "Killed"
"""The name of the failed state of a stage that a signal ended."""


def was_killed(task: object, run: object, state: State[Any]) -> bool:
    """Whether a signal ended a stage, as for a lack of memory: another attempt may succeed."""
    return state.name == KILLED


@task(persist_result=False, cache_policy=NO_CACHE, retries=0, retry_condition_fn=was_killed)
def run_stages(planned: Planned, machine: Machine) -> State[None]:
    """Bring stages up to date; the message of the state is time and warnings, or one's last lines and its log."""
    if not planned.stale:
        return Completed(name="Cached", message="up to date")
    start = time.monotonic()
    lines = _Lines(planned)
    arguments = ["--wait-for-lock", "repro", "--single-item", *planned.stages]
    try:
        with (
            machine.environment(planned) as environment,
            machine.children.run("flows.workspace.repro", arguments, environment, planned.folder) as output,
        ):
            for line in output:
                lines.add(line.rstrip())
    except (Stopped, CalledProcessError) as error:
        if machine.children.stopped:
            return Cancelled()
        killed = lines.killed or getattr(error, "returncode", 0) < 0
        printed = [line for line in lines.last if line.startswith("log: ")]
        log = log_line(lines.stage, planned.folder) or printed[-1:]  # last, and once
        message = "\n".join([*(line for line in lines.last if not line.startswith("log: ")), *log])
        return Failed(name=KILLED if killed else "Failed", message=message)
    machine.seconds[planned.name] = time.monotonic() - start
    name = lines.shortcuts[0] if len(lines.shortcuts) == len(planned.stages) else "Completed"
    return Completed(name=name, message="\n".join([f"{machine.seconds[planned.name]:.1f} s", *lines.warnings]))


def log_line(stage: str, folder: Path = HERE.folder) -> list[str]:
    """The line that names the log of a stage, as `tasks.run` does unless it is killed; empty where there is none."""
    log = Workspace(folder).logs / f"{'-'.join(filter(None, (kind(stage), stage.partition('@')[2])))}.log"
    return [f"log: {log}"] if log.exists() else []


class _Lines:
    """The output of stages on its way to the log, the progress artifact and the error message."""

    def __init__(self, planned: Planned) -> None:
        self.stage = planned.stages[0]
        self.last: deque[str] = deque(maxlen=NUM_ERROR_LINES)
        self.shortcuts: list[str] = []
        self.warnings: list[str] = []
        self.killed = False
        self._log = get_run_logger()
        self._bar = ProgressBar(planned.name)

    def add(self, line: str) -> None:
        if is_noise(line):
            return
        self._log.info(line)
        self.stage = begun(line) or self.stage
        self.shortcuts += filter(None, [shortcut(line)])
        self.warnings += [line] * line.startswith(WARNING)
        self.killed = self.killed or tells_a_kill(line)
        if (progress := Progress.parse(line)) is not None:
            self._bar.show(progress)
        elif (text := reason(line)) is not None:
            self.last.append(text)


@dataclass
class ProgressBar:
    """The progress artifact of a task, updated at most once a second."""

    task: str
    shown: float = float("-inf")
    artifact: UUID | None = None

    def show(self, progress: Progress) -> None:
        """Show it; a server that does not answer for a moment must not end a long training."""
        try:
            self._show(progress)
        except Exception as error:
            get_run_logger().warning(f"progress not shown: {error}")

    def _show(self, progress: Progress) -> None:
        if progress.percent < 100 and time.monotonic() < self.shown + 1:
            return
        self.shown = time.monotonic()
        if self.artifact is None:
            self.artifact = _create(artifact_key(self.task), progress)
        else:
            update_progress_artifact(self.artifact, progress.percent, description=progress.brief)


def _create(key: str, progress: Progress) -> UUID:
    # Outside of asyncio Prefect answers with the value itself, which its types do not say.
    return cast(UUID, create_progress_artifact(progress.percent, key=key, description=progress.brief))


def artifact_key(stage: str) -> str:
    """A stage's name in the letters that Prefect allows: `train@joint-random-0` -> `train-joint-random-0`."""
    return re.sub(r"[^a-z0-9]+", "-", stage.lower()).strip("-")
