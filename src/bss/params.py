"""The schema of params.yaml: strict, complete, every name resolved at load, nothing heavy imported.

No section that a stage reads has a default: what params.yaml does not say is an error, so the file tells what was
run. One thing is there unsaid: every training method under its own name, with its defaults.
"""

import os
from itertools import product
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, field_validator, model_validator

from bss.curriculum.schedulers.scheduler import SCHEDULERS, Scheduler
from bss.curriculum.settings import Active
from bss.data.datasets.dataset import DATASETS, Dataset
from bss.encoders.encoder import ENCODERS, Encoder
from bss.encoders.fusions.fusion import FUSIONS, Fusion
from bss.errors import InputError
from bss.measure.criteria.criterion import PUBLISHED, Criteria, distinct
from bss.parsing import checked, read_mapping
from bss.paths import Cell, absolute
from bss.registry import Count, CountOrAuto, MethodName, Name, Positive, Strict, UnknownName
from bss.search import Range
from bss.training.loggers.logger import LOGGERS, Logger
from bss.training.methods.method import METHODS, Method
from bss.training.settings import Augment, RuntimeSettings, Spread, Train, Warmup
from bss.types import ALONE, BASELINE, PRESENT, PROBABILITIES, RESERVED, WARMUP


def _known_criteria(names: list[str]) -> list[str]:
    return list(distinct(tuple(names))) if names else names


class Score(Strict):
    """What is measured of every training pair."""

    criteria: Criteria
    """They make the balance score; a scheduler follows it unless it names criteria of its own."""
    others: Annotated[list[Name], AfterValidator(_known_criteria)]
    """Measured as well, for the schedulers that name them."""


class Curriculum(Strict):
    """The schedulers that a grid may name, and how many epochs of sequences are laid out."""

    epochs: Count
    schedulers: dict[Name, Annotated[Scheduler, BeforeValidator(SCHEDULERS.build)]]


class Evaluate(Strict, use_attribute_docstrings=True):
    """The one look at the test split."""

    batch_size: Count
    """Samples that are judged at once; changes no result."""
    rule: Literal["fused", "sum", "sum_all", "weighted"]
    """The multimodal prediction that is judged: of the fusion; the sum of the modalities' logits, or of those and the
    fusion's; or the mean of the modalities' probabilities by weights chosen on validation."""
    linear_probe: bool = False
    """Whether logistic regressions on the frozen features say what each encoder has learned."""


class ByTest(Strict, use_attribute_docstrings=True):
    """The protocol of papers whose best epoch is that of the test split; `bss reproduce` alone fills it."""

    seeds: list[Annotated[int, Field(ge=0, lt=2**32)]]
    """Seeds whose trainings keep the weights of every epoch, for `evaluate-by-test` to judge each on test."""


class Report(Strict):
    """What the page compares and shows."""

    confidence: Annotated[float, Field(gt=0, lt=1)]
    num_examples: Annotated[int, Field(ge=0)]


class Grid(Strict, use_attribute_docstrings=True):
    """The cells that are run: every method with every scheduler and every seed."""

    seeds: Annotated[list[Annotated[int, Field(ge=0, lt=2**32)]], Field(min_length=1)]
    """Each repeats all cells."""
    methods: Annotated[list[Name], Field(min_length=1)]
    """Training methods, by their names under `methods`, or by those of their files."""
    schedulers: Annotated[list[Name], Field(min_length=1)]
    """By their names under `curriculum.schedulers`; `random` is among them."""


class FlowSettings(Strict, use_attribute_docstrings=True):
    """How the stages run; nothing here changes a result."""

    max_parallel: CountOrAuto
    """Stages at a time; `auto` gives each the cores that `runtime.threads` asks for, one where that is `auto` too."""
    cache: Literal["device", "memory", "disk", "auto"]
    """Where the packed samples lie: `auto` is the device if they take at most a quarter of what is free there."""
    checkpoint_minutes: Positive
    """Between two checkpoints in the middle of an epoch; each epoch ends with one."""
    num_workers: Annotated[int, Field(ge=0)]
    """Processes that read samples ahead of a training."""
    log: list[Annotated[Logger, BeforeValidator(LOGGERS.build)]] = Field(default_factory=list)
    """Where the curves of each training are shown while it runs; below logs/, a folder a logger."""

    @field_validator("log")
    @classmethod
    def _loggers_can_work(cls, loggers: list[Logger]) -> list[Logger]:
        names = [logger.name for logger in loggers]
        for logger in loggers:
            if names.count(logger.name) > 1:
                raise InputError(f"'{logger.name}' stands there twice")
            logger.expect_packages()
        return loggers


class Ci(Strict):
    """When a retraining fails."""

    max_drop: Annotated[float, Field(ge=0)]
    """Points of fused validation accuracy, mean over common seeds, that a row of the grid may lose to the base."""


class Params(Strict):
    """The whole of params.yaml."""

    raw: str
    """What DVC watches for changes of the raw data: a file or a folder."""
    preprocess: Annotated[Dataset, BeforeValidator(DATASETS.build)]
    encoders: dict[Name, Annotated[Encoder, BeforeValidator(ENCODERS.build)]]
    fusion: Annotated[Fusion, BeforeValidator(FUSIONS.build)]
    augment: dict[Name, Augment]
    warmup: Warmup
    score: Score
    curriculum: Curriculum
    methods: Annotated[
        dict[MethodName, Annotated[Method, BeforeValidator(METHODS.build)]], BeforeValidator(METHODS.every)
    ]
    train: Train
    spread: Spread
    runtime: RuntimeSettings
    active: Active
    evaluate: Evaluate
    by_test: ByTest
    report: Report
    grid: Grid
    flow: FlowSettings
    ci: Ci
    search: dict[str, Range] = Field(default_factory=dict)
    """Dotted key -> what `bss tune` chooses from; no stage reads it."""

    @property
    def cells(self) -> list[Cell]:
        """The cells of the grid, a seed after the other within a method and scheduler."""
        grid = self.grid
        return [Cell(*cell) for cell in product(grid.methods, grid.schedulers, grid.seeds)]

    @property
    def alone(self) -> list[Cell]:
        """Each modality by itself, in the baseline's order."""
        return [Cell(ALONE, BASELINE, seed) for seed in self.grid.seeds]

    @property
    def max_parallel(self) -> int:
        """Stages at a time on this machine."""
        wanted, threads = self.flow.max_parallel, self.runtime.threads
        if wanted != "auto":
            return wanted
        return max(1, len(os.sched_getaffinity(0)) // (1 if threads == "auto" else threads))

    @field_validator("curriculum")
    @classmethod
    def _schedulers_follow_the_score(cls, curriculum: Curriculum, info: ValidationInfo) -> Curriculum:
        """A copy, in which a scheduler that names no criteria has those of `score`, unless its kind has its own."""
        if "score" not in info.data:  # it is refused, and the message is its own
            return curriculum
        update = {"criteria": info.data["score"].criteria}
        schedulers = {
            name: scheduler.model_copy(update=update) if _follows_the_score(scheduler) else scheduler
            for name, scheduler in curriculum.schedulers.items()
        }
        return curriculum.model_copy(update={"schedulers": schedulers})

    @model_validator(mode="after")
    def _names_are_known(self) -> Self:
        for key, names, known in (
            ("encoders", list(self.encoders), self.preprocess.modalities),
            ("augment", list(self.augment), self.preprocess.modalities),
            ("grid.methods", self.grid.methods, self.methods),
            ("grid.schedulers", self.grid.schedulers, self.curriculum.schedulers),
            ("active.grid.acquisitions", self.active.grid.acquisitions, self.active.acquisitions),
            ("active.method", [self.active.method], self.methods),
            ("grid.seeds", [str(seed) for seed in self.grid.seeds], map(str, self.grid.seeds)),
            ("by_test.seeds", [str(seed) for seed in self.by_test.seeds], map(str, self.grid.seeds)),
        ):
            _check_names(key, names, list(known))
        return self

    @model_validator(mode="after")
    def _changes_of_the_data_are_noticed(self) -> Self:
        for path in map(absolute, self.preprocess.inputs):
            if not path.is_relative_to(absolute(Path(self.raw))):
                raise InputError(f"raw: '{self.raw}' does not hold {path}, so DVC would not notice when that changes")
        return self

    @model_validator(mode="after")
    def _columns_have_names_of_their_own(self) -> Self:
        kinds, reserved = self.preprocess.modalities, dict(RESERVED)
        for name, kind in kinds.items():
            of_modality = [PRESENT, PROBABILITIES, *(f"_{fact}" for fact in kind.facts)]
            reserved |= {f"{name}{ending}": f"what belongs to '{name}'" for ending in of_modality}
        for name in kinds:
            if name in reserved:
                raise InputError(
                    f"preprocess: a modality is called '{name}', as {reserved[name]} of the project is; take another "
                    "name"
                )
        return self

    @model_validator(mode="after")
    def _comparisons_have_their_baselines(self) -> Self:
        for key, names, needed in (
            ("grid.schedulers", self.grid.schedulers, BASELINE),
            ("curriculum.schedulers", self.curriculum.schedulers, BASELINE),
        ):
            if needed not in names:
                raise InputError(f"{key}: '{needed}' is missing; the others are compared with it")
        if WARMUP in self.methods:
            raise InputError(f"methods: '{WARMUP}' is the training before all others; give the method another name")
        if ALONE in self.grid.methods:
            raise InputError(f"grid.methods: '{ALONE}' has stages of its own and runs in any case; leave it out")
        for key, name, known in (
            (f"curriculum.schedulers.{BASELINE}", BASELINE, self.curriculum.schedulers),
            (f"methods.{ALONE}", ALONE, self.methods),
        ):
            if known[name].name != name:
                raise InputError(f"{key}.name: '{known[name].name}', but the others are compared with '{name}'")
        return self

    @model_validator(mode="after")
    def _criteria_are_measured(self) -> Self:
        measured = (*self.score.criteria, *self.score.others)
        for name, scheduler in self.curriculum.schedulers.items():
            if missing := [criterion for criterion in scheduler.criteria if criterion not in measured]:
                raise InputError(
                    f"curriculum.schedulers.{name}.criteria: {missing} are not measured; add them to score.others"
                )
        return self

    @property
    def _trainings(self) -> list[tuple[str, str, Method]]:
        """Key, name and method of each training that is run."""
        objective = self.warmup.objective
        of_grid = [("grid.methods", name, self.methods[name]) for name in self.grid.methods]
        return [*of_grid, ("warmup.objective", objective.name, objective)]

    @model_validator(mode="after")
    def _methods_can_be_shared(self) -> Self:
        if self.spread.devices * self.spread.nodes > 1:
            for key, name, method in self._trainings:
                if not method.can_share:
                    raise InputError(
                        f"spread.devices: '{name}' of {key}, as it is set, is trained by one process alone: set "
                        "devices and nodes to 1"
                    )
                if self.spread.strategy not in method.can_share:
                    raise InputError(
                        f"spread.strategy: '{self.spread.strategy}', but several processes can share the method "
                        f"'{name}' of {key} by {' or '.join(method.can_share)} alone"
                    )
        return self

    @model_validator(mode="after")
    def _methods_suit_the_data(self) -> Self:
        for key, name, method in self._trainings:
            if reason := self.unsuited(method):
                raise InputError(f"{key}: '{name}' cannot be used with these data: {reason}")
        return self

    def unsuited(self, method: Method) -> str:
        """Why a method cannot be used with the data; empty where it can."""
        kinds = self.preprocess.modalities
        words = [name for name, kind in kinds.items() if not kind.normalised]
        try:
            method.check_shapes({name: kind.shape for name, kind in kinds.items()}, words)
        except InputError as error:
            return str(error)
        return ""

    @model_validator(mode="after")
    def _methods_come_to_their_end(self) -> Self:
        for name in self.grid.methods:
            method = self.methods[name]
            epochs = self.train.epochs + (0 if method.goes_on else self.warmup.num_epochs)
            if epochs < method.least_epochs:
                raise InputError(
                    f"grid.methods: '{name}' needs {method.least_epochs} epochs for all its phases, and has {epochs} "
                    f"(train.epochs{'' if method.goes_on else ' and those of the warm-up'}): train longer, or lower "
                    "its own fields that count epochs"
                )
        return self

    @model_validator(mode="after")
    def _batches_can_be_shared(self) -> Self:
        ranks = self.spread.devices * self.spread.nodes
        for key, size in (("warmup", self.warmup.batch_size), ("train", self.train.batch_size)):
            if size % ranks or size < 2 * ranks > 2:
                raise InputError(
                    f"{key}.batch_size: {size} samples are shared by {ranks} processes (spread.devices "
                    f"x spread.nodes); take a multiple of {ranks}, 2 for each at least"
                )
        return self

    @model_validator(mode="after")
    def _sequences_are_long_enough(self) -> Self:
        if (needed := self.warmup.num_epochs + self.train.epochs) > self.curriculum.epochs:
            probing = "" if self.warmup.objective.trains_heads else "+ warmup.probe_epochs "
            raise InputError(
                f"curriculum.epochs: {self.curriculum.epochs} epochs of sequences are laid out, but warmup.epochs "
                f"{probing}+ train.epochs = {needed} are needed; raise curriculum.epochs"
            )
        return self


def _follows_the_score(scheduler: Scheduler) -> bool:
    is_of_its_kind = type(scheduler).model_fields["criteria"].default != PUBLISHED
    return not is_of_its_kind and "criteria" not in scheduler.model_fields_set


def _check_names(key: str, names: list[str], known: list[str]) -> None:
    for name in names:
        if name not in known:
            raise InputError(f"{key}: {UnknownName('name', name, known)}")
    if len(set(names)) < len(names):
        raise InputError(f"{key}: [{', '.join(names)}] lists one thing twice")


def load(path: Path) -> Params:
    """The checked parameters of a file; errors as of `read_mapping` and `checked`."""
    return checked(read_mapping(path), Params, path)
