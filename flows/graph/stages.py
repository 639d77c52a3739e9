"""One stage of the DVC graph as one Prefect task."""

import os
import queue
import re
import sys
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
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

from flows.graph.output import Progress, is_noise, reason, shortcut, tells_a_kill
from flows.workspace.children import Children, Stopped

GPU_STAGES = {"warmup", "train", "evaluate"}
RESUMING_STAGES = {"warmup", "train"}
NUM_ERROR_LINES = 12
KILLED = "Killed"
"""The name of the failed state of a stage that a signal ended."""


class Machine:
    """What the stages of one run share: the children that live, the GPUs that are free, an environment."""

    def __init__(self, gpus: list[str], environment: Mapping[str, str]) -> None:
        self.children = Children()
        self._environment = environment
        self.has_gpus = bool(gpus)
        self._free: queue.Queue[str] = queue.Queue()
        for gpu in gpus:
            self._free.put(gpu)

    @contextmanager
    def environment(self, stage: str) -> Iterator[dict[str, str]]:
        """The environment of a stage's process; a stage that computes waits for a GPU of its own."""
        folders = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
        own = {"PATH": folders, "PYTHONUNBUFFERED": "1", "DVC_NO_ANALYTICS": "1"}
        environment = {**os.environ, **self._environment, **own}
        if not (self.has_gpus and uses_gpu(stage)):
            yield environment
            return
        gpu = self._free.get()
        try:
            yield environment | {"CUDA_VISIBLE_DEVICES": gpu}
        finally:
            self._free.put(gpu)


def uses_gpu(stage: str) -> bool:
    """Whether a stage computes on the GPU where there is one."""
    return stage.partition("@")[0].removesuffix("-alone") in GPU_STAGES


def resumes(stage: str) -> bool:
    """Whether a stage that is started again goes on from a checkpoint."""
    return stage.partition("@")[0].removesuffix("-alone") in RESUMING_STAGES


def was_killed(task: object, run: object, state: State[Any]) -> bool:
    """Whether a stage ended for a reason that another attempt may not meet, such as a lack of memory."""
    return state.name == KILLED


@task(persist_result=False, cache_policy=NO_CACHE, retries=0, retry_condition_fn=was_killed)
def run_stage(stage: str, stale: bool, machine: Machine) -> State[None]:
    """Bring one stage up to date; the message of the state is its time, or its last lines if it failed."""
    if not stale:
        return Completed(name="Cached", message="up to date")
    start = time.monotonic()
    lines = _Lines(stage)
    command = [sys.executable, "-m", "flows.workspace.repro", "--wait-for-lock", "repro", "--single-item", stage]
    try:
        with machine.environment(stage) as environment, machine.children.run(command, environment) as output:
            for line in output:
                lines.add(line.rstrip())
    except (Stopped, CalledProcessError) as error:
        if machine.children.stopped:
            return Cancelled()
        killed = lines.killed or getattr(error, "returncode", 0) < 0
        return Failed(name=KILLED if killed else "Failed", message="\n".join(lines.last))
    return Completed(name=lines.shortcut or "Completed", message=f"{time.monotonic() - start:.1f} s")


class _Lines:
    """The output of a stage on its way to the log, the progress artifact and the error message."""

    def __init__(self, stage: str) -> None:
        self.last: deque[str] = deque(maxlen=NUM_ERROR_LINES)
        self.shortcut: str | None = None
        self.killed = False
        self._log = get_run_logger()
        self._bar = ProgressBar(stage)

    def add(self, line: str) -> None:
        if is_noise(line):
            return
        self._log.info(line)
        self.shortcut = self.shortcut or shortcut(line)
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
        """Show it, if the server lets us: one that is away for a moment must not end a long training."""
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
