"""The trials of a search: trained one after the other in this process, kept by Optuna, stopped early where poor.

A trial reads what the stages before training have left, and reports its accuracy on validation after every epoch.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import optuna
from optuna.trial import Trial, TrialState

from bss.data.packed import META
from bss.errors import InputError, MissingInput
from bss.evaluation.artifacts import kept_epoch, read_table
from bss.files import write_text
from bss.locks import held
from bss.params import Params
from bss.parsing import checked, dumped
from bss.paths import HERE, Workspace
from bss.search import Range
from bss.training.cell import train_cell
from bss.training.checkpoint import key
from bss.training.trainer import NotFinite
from bss.types import Split
from flows.studies.tuning import Tuning, Values
from flows.workspace.lock import AT_WORK

FOLDER = HERE.temporary / "tune"
DATABASE = "trials.db"
ENDED = (TrialState.COMPLETE, TrialState.PRUNED)
NUM_UNPRUNED = 5
"""Trials that come to their end before any is stopped."""
DIGITS = 3
"""Significant digits of the numbers tried: more would only look exact."""
VALUES, CURRENT, REASON = "values", "current", "reason"


@dataclass(frozen=True)
class Ended:
    """How a trial ended."""

    number: int
    """Of all trials of the search, from 1."""
    values: Values
    accuracy: float | None
    """Mean over the seeds, on validation, in [0, 1]; None where it was stopped."""
    reason: str
    """Why it was stopped; empty where it was not."""
    seconds: float


class Search:
    """The trials of a search that there are, and new ones.

    Args:
        tuning: what is searched; its stages are up to date.
        study: of Optuna.
        workspace: in which trials are trained.
    """

    def __init__(self, tuning: Tuning, study: "optuna.Study", workspace: Workspace) -> None:
        self.tuning, self._study, self._workspace = tuning, study, workspace

    @classmethod
    @contextmanager
    def opened(cls, tuning: Tuning, folder: Path = FOLDER) -> Iterator["Search"]:
        """The search with the trials of before, as far as data, code and all other values are the same.

        What a killed process left unfinished counts as no trial.

        Raises:
            Busy: another process searches here.
        """
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        folder = folder.absolute()
        with held(folder / "lock", AT_WORK.format(pid="{pid}", folder=folder)):
            study = optuna.create_study(
                storage=f"sqlite:///{folder / DATABASE}",
                study_name=f"{tuning.method}-{tuning.scheduler}-{_fingerprint(tuning)}",
                direction="maximize",
                load_if_exists=True,
                pruner=optuna.pruners.MedianPruner(NUM_UNPRUNED, n_warmup_steps=tuning.raw["train"]["epochs"] // 3),
            )
            for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
                study.tell(trial.number, state=TrialState.FAIL)
            yield cls(tuning, study, _linked(Workspace(folder / "workspace"), lays_out=tuning.lays_out))

    @property
    def num_ended(self) -> int:
        """Trials that came to their end or were stopped early."""
        return len(self._study.get_trials(deepcopy=False, states=ENDED))

    @property
    def best(self) -> tuple[dict[str, Any], float] | None:
        """The best values and their accuracy; None where no trial came to its end."""
        done = self._study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        if not done:
            return None
        best = max(done, key=lambda trial: (trial.value, -trial.number))
        return dict(best.user_attrs[VALUES]), float(best.value or 0.0)

    def current(self) -> float:
        """Accuracy of the values of params.yaml, with the same seeds; trained once."""
        values = self.tuning.current
        known = self._study.user_attrs.get(CURRENT, {})
        text = json.dumps(values, sort_keys=True)
        if text not in known:
            known = {**known, text: self._accuracy(values, lambda accuracy, step: None)}
            self._study.set_user_attr(CURRENT, known)
        return float(known[text])

    def run(self, num_trials: int, seconds: float | None = None) -> Iterator[Ended]:
        """Train until there are so many trials in all, or no longer than so many seconds and the trial under way."""
        deadline = time.monotonic() + (float("inf") if seconds is None else seconds)
        while self.num_ended < num_trials and time.monotonic() < deadline:
            # Of its own seed each: after a kill the sampler would draw again what there is.
            self._study.sampler = optuna.samplers.TPESampler(seed=len(self._study.get_trials(deepcopy=False)))
            start = time.monotonic()
            self._study.optimize(self._objective, n_trials=1)
            last = self._study.get_trials(deepcopy=False)[-1]
            values, reason = last.user_attrs[VALUES], last.user_attrs.get(REASON, "")
            yield Ended(self.num_ended, values, last.value if not reason else None, reason, time.monotonic() - start)

    def _objective(self, trial: Trial) -> float:
        values = {name: _suggested(trial, name, found) for name, found in self.tuning.ranges.items()}
        trial.set_user_attr(VALUES, values)

        def look(accuracy: float, step: int) -> None:
            trial.report(accuracy, step)
            if trial.should_prune():
                raise _stopped(trial, "worse than half of the others")

        try:
            return self._accuracy(values, look)
        except InputError as error:
            if not isinstance(error.__cause__, NotFinite) and not isinstance(error, _Unfit):
                raise
            raise _stopped(
                trial, "its values do not go together" if isinstance(error, _Unfit) else "diverged"
            ) from error

    def _accuracy(self, values: Values, look: Callable[[float, int], None]) -> float:
        """Mean over the seeds of the validation accuracy of the epoch that is kept.

        Args:
            values: of the keys searched.
            look: is called after every epoch with the mean so far and the number of the epoch.
        """
        raw, place = self.tuning.with_values(values), self._workspace
        try:
            params = checked(raw, Params, HERE.params)
        except InputError as error:
            raise _Unfit(str(error)) from error
        params = params.model_copy(update={"flow": params.flow.model_copy(update={"max_parallel": 1})})
        write_text(dumped(raw), place.params)
        accuracies: list[float] = []
        for cell in self.tuning.cells:
            if self.tuning.lays_out:
                _lay_out(place, cell.scheduler, cell.seed)
            before = len(accuracies) * params.curriculum.epochs

            def report(_: int, done: int, measured: Mapping[str, float], before: int = before) -> None:
                look(fmean([*accuracies, measured["validation_accuracy"]]), before + done)

            try:
                train_cell(params, cell, place, report)
            finally:
                shutil.rmtree(place.checkpoints, ignore_errors=True)
            history = read_table(place.run(cell) / "history.parquet")
            accuracies.append(float(kept_epoch(history, params.train.keep)["validation_accuracy"]))
        return fmean(accuracies)


class _Unfit(InputError):
    """Values that fit one by one, and not together."""


def _stopped(trial: Trial, reason: str) -> optuna.TrialPruned:
    trial.set_user_attr(REASON, reason)
    return optuna.TrialPruned(reason)


def _suggested(trial: Trial, name: str, found: Range) -> Any:
    if found.choices is not None:
        return trial.suggest_categorical(name, found.choices)
    if found.is_whole:
        return trial.suggest_int(name, int(found.least), int(found.greatest), log=found.log)
    value = trial.suggest_float(name, found.least, found.greatest, log=found.log)
    return min(max(float(f"{value:.{DIGITS}g}"), found.least), found.greatest)


def _fingerprint(tuning: Tuning) -> str:
    """The same for the same data, scores, code and values, other than those searched."""
    ranges = {name: found.model_dump() for name, found in tuning.ranges.items()}
    inputs = [HERE.packed / META, *(HERE.packed / split for split in (Split.TRAIN, Split.VALIDATION))]
    for seed in tuning.seeds:
        inputs += [HERE.warmup(seed), HERE.scores(seed), HERE.held_out(seed)]
    if missing := [path for path in inputs if not path.exists()]:
        raise MissingInput(f"{missing[0]} is missing: run `bss run curriculum` first")
    parts = {"constants": tuning.constants, "ranges": ranges, "seeds": tuning.seeds}
    return key(parts, inputs)[:12]


def _linked(place: Workspace, *, lays_out: bool) -> Workspace:
    """A workspace that reads what the stages have left in this one, and writes only its own trainings.

    Args:
        place: the workspace.
        lays_out: whether it has sequences of its own.
    """
    shutil.rmtree(place.folder, ignore_errors=True)
    shared = [Workspace.packed, Workspace.all_scores, Workspace.all_held_out, Workspace.all_warmups]
    for where in shared if lays_out else (*shared, Workspace.curricula):
        source, target = (where.fget(workspace) for workspace in (HERE, place))  # type: ignore[attr-defined]
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(source.absolute())
    for code in ("src", "tasks") if lays_out else ():
        (place.folder / code).symlink_to(Path(code).absolute())
    return place


def _lay_out(place: Workspace, scheduler: str, seed: int) -> None:
    """Have the sequences of a scheduler with the values of a trial, as the stage `curriculum` makes them."""
    command = [sys.executable, "-m", "tasks.curriculum", "--scheduler", scheduler, "--seed", str(seed)]
    done = subprocess.run(command, cwd=place.folder, env=os.environ, capture_output=True, text=True, check=False)
    if done.returncode:
        raise InputError(f"the stage curriculum failed: {done.stderr.strip()}")
