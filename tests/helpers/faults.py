"""A run that is killed again and again at seeded random moments, and what it has left when it ends."""

import fcntl
import hashlib
import os
import random
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]

from tests.helpers.workspace import Workspace, locked

MARK = "BSS_FAULTS"
FLOW = (sys.executable, "-m", "bss", "run")
REPRO = (sys.executable, "-m", "dvc", "repro")
RESULTS = ("data/packed", "data/scores", "data/curricula", "models/warmup", "models/runs", "reports")
SECONDS_TO_DIE = 10.0
HOWS = ("SIGINT", "SIGTERM", "SIGKILL of the flow alone", "power cut")


@dataclass
class Blow:
    """One kill: what was running, how far it was, how it was ended and which stages were hit."""

    command: str
    moment: float
    how: str
    hit: list[str]
    num_done: int

    def __str__(self) -> str:
        at_work = ", ".join(self.hit) or "no stage"
        return f"{self.command}, {self.how}, {self.moment:.2f} s on; done {self.num_done}, at work: {at_work}"


@dataclass
class Faults:
    """Kills runs of a workspace; the same seed gives the same commands, moments and ways."""

    workspace: Workspace
    seed: int
    blows: list[Blow] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.draw = random.Random(self.seed)

    def strike(self) -> bool:
        """Start a run and kill it, the first time in a training; False where it ended before, which it did well."""
        aimed = not self.fell_into_training
        by_dvc = self.draw.random() < 0.2 and not (self.blows and self.blows[-1].command == "dvc repro")
        at_once, early = self.draw.random() < 0.5, self.draw.random() < 0.25
        moment, how = self.draw.uniform(0, 6.0 if early else 3.0), self.draw.choice(HOWS)
        target = 0 if early else self.num_done() + self.draw.randint(0, 4)
        if by_dvc:  # a person's, which has no lifeline
            how = self.draw.choice(["SIGINT", "power cut"])
        with self._started(REPRO if by_dvc else FLOW) as process:
            while not (early and not aimed) and process.poll() is None:
                hit = self.hit()
                if any(stage.startswith("train") for stage in hit) if aimed else hit and self.num_done() >= target:
                    break
                time.sleep(0.05)
            moment = 0.0 if aimed else moment
            try:
                output, _ = process.communicate(timeout=moment if process.poll() is None else None)
            except subprocess.TimeoutExpired:
                self._kill(process, Blow("dvc repro" if by_dvc else "flow", moment, how, self.hit(), self.num_done()))
                if not at_once:
                    self.expect_nobody()
                return True
        assert process.returncode == 0, f"after {self}\n{output}"
        return False

    def finish(self) -> str:
        """Run to the end without a kill; what the run says."""
        with self._started(FLOW) as process:
            output, _ = process.communicate(timeout=300)
        assert process.returncode == 0, f"after {self}\n{output}"
        self.expect_nobody()
        return output

    @property
    def fell_into_training(self) -> bool:
        """Whether a kill has hit a stage that trains."""
        return any(stage.startswith("train") for blow in self.blows for stage in blow.hit)

    def hit(self) -> list[str]:
        """The stages at work: they hold their locks."""
        return [path.name for path in sorted((self.workspace.folder / ".dvc/tmp/stages").glob("*")) if is_held(path)]

    def num_done(self) -> int:
        """Stages that dvc.lock tells of."""
        path = self.workspace.folder / "dvc.lock"
        return len(re.findall(r"^  \S+:$", path.read_text(), flags=re.MULTILINE)) if path.exists() else 0

    def expect_nobody(self) -> None:
        """No process of a run may be alive after some seconds."""
        deadline = time.monotonic() + SECONDS_TO_DIE
        while orphans := self.processes():
            names = [" ".join(orphan.cmdline()) for orphan in orphans if orphan.is_running()]
            assert time.monotonic() < deadline, f"after {self}\nstill alive: {names}"
            time.sleep(0.1)

    def processes(self) -> list[Any]:
        """Every process of the runs, in whatever session: they inherited a mark."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if process.environ().get(MARK) == self._mark and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def __str__(self) -> str:
        return "\n".join(f"kill {number}: {blow}" for number, blow in enumerate(self.blows, 1))

    @property
    def _mark(self) -> str:
        return str(self.workspace.folder)

    def _started(self, command: tuple[str, ...]) -> "subprocess.Popen[str]":
        # A shell has its background jobs ignore Ctrl-C, and what they start would inherit that.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        return subprocess.Popen(
            command,
            cwd=self.workspace.folder,
            env=self.workspace.environment | {MARK: self._mark},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def _kill(self, process: "subprocess.Popen[str]", blow: Blow) -> None:
        self.blows.append(blow)
        print(f"kill {len(self.blows)}: {blow}", flush=True)  # noqa: T201 - so that a failure can be repeated
        match blow.how:
            case "power cut":
                while victims := self.processes():
                    for victim in victims:
                        with suppress(psutil.NoSuchProcess):
                            victim.kill()
            case "SIGKILL of the flow alone":
                process.kill()
            case name:  # a terminal sends Ctrl-C to the group
                with suppress(ProcessLookupError):  # it has just ended
                    os.killpg(process.pid, signal.Signals[name])
        process.communicate(timeout=30)


def is_held(path: Path) -> bool:
    """Whether a process holds a lock file."""
    with path.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def results(workspace: Workspace) -> dict[str, Any]:
    """The checksum of every result, and the content of dvc.lock, whose order tells who was first."""
    folder = workspace.folder
    files = [path for part in RESULTS for path in sorted((folder / part).rglob("*")) if path.is_file()]
    sums = {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    return {**sums, "dvc.lock": locked(folder)}


def begin_anew(workspace: Workspace) -> None:
    """Remove all results and what DVC knows of them."""
    for part in ("data/packed", "data/scores", "data/curricula", "models", "reports", ".dvc/cache"):
        subprocess.run(["rm", "-rf", part], cwd=workspace.folder, check=True)
    (workspace.folder / "dvc.lock").unlink(missing_ok=True)
