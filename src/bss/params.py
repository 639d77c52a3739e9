"""The schema of params.yaml: strict, complete, every name resolved at load, nothing heavy imported.

No section has a default: what params.yaml does not say is an error, so the file alone tells what was run.
"""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from bss.curriculum.schedulers.scheduler import SCHEDULERS, Scheduler
from bss.data.datasets.dataset import DATASETS, Dataset
from bss.encoders.encoder import ENCODERS, Encoder
from bss.encoders.fusions.fusion import FUSIONS, Fusion
from bss.errors import InputError
from bss.measure.criteria.criterion import Criteria, different
from bss.parsing import checked, read_mapping
from bss.registry import Strict, UnknownName
from bss.training.methods.method import METHODS, Method

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")]
MethodName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_]*$")]
"""Without a hyphen, so that METHOD-SCHEDULER-SEED names one cell."""

Count = Annotated[int, Field(ge=1)]
BASELINE = "random"
"""The scheduler that every other is compared with."""

ALONE = "unimodal"
"""The method that trains each modality by itself; stages of its own run it, in the baseline's order."""

Positive = Annotated[float, Field(gt=0)]


class Optimisation(Strict, use_attribute_docstrings=True):
    """How weights are updated."""

    batch_size: Annotated[int, Field(ge=2)]
    """Samples of one step."""
    optimizer: Literal["adamw", "sgd"]
    """What updates the weights."""
    lr: Positive
    """Learning rate, at the start."""
    weight_decay: Annotated[float, Field(ge=0)]
    """Share of the weights that an update takes away, times the learning rate."""
    momentum: Annotated[float, Field(ge=0, lt=1)]
    """Of sgd; adamw has none."""


def _known_criteria(names: list[str]) -> list[str]:
    return list(different(tuple(names))) if names else names


class Augment(Strict):
    """Random changes of one modality's training samples; each is left out by default."""

    crop: Annotated[float, Field(gt=0, lt=1)] | None = None
    """A window of at least this share of the picture, enlarged."""
    flip: bool = False
    """Half of the pictures are mirrored, left to right."""
    num_frames: Count | None = None
    """So many of the frames, drawn for each sample."""
    time_mask: Count | None = None
    """At most so many columns of a spectrogram take the mean."""
    frequency_mask: Count | None = None
    """At most so many rows."""


class Warmup(Optimisation):
    """Training in random order before the pairs are scored."""

    epochs: Annotated[int, Field(ge=0)]
    """Passes over the training samples; 0 scores an untrained network."""


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


class Spread(Strict, use_attribute_docstrings=True):
    """The processes that share the training: `devices` on each of `nodes` machines."""

    devices: Count
    """Processes that share a batch, on each machine."""
    nodes: Count
    """Machines."""
    strategy: Literal["ddp", "fsdp"]
    """Of more than one process: each has the whole model, or its share of every weight."""


class Train(Optimisation, Spread):
    """Training after the warm-up. The warm-up is spread alike."""

    epochs: Count
    """Each as long as the scheduler lays it out."""
    lr_schedule: Literal["constant", "cosine", "step"]
    """The learning rate over the training: constant, half a cosine, or a tenth after each third."""
    keep: Literal["best", "last"]
    """The weights that are judged: of the best epoch on validation, or of the last."""
    cache: Literal["device", "memory", "disk", "auto"]
    """Where the packed samples lie: `auto` is the device if they take at most a quarter of what is free there."""
    checkpoint_minutes: Positive
    """Between two checkpoints in the middle of an epoch; each epoch ends with one."""


class Runtime(Strict):
    """Where and how the arithmetic runs."""

    device: Literal["auto", "cpu", "cuda"]
    precision: Literal["float32", "bfloat16"]
    compile: bool
    channels_last: bool
    deterministic: bool
    threads: Count
    num_workers: Annotated[int, Field(ge=0)]


class Evaluate(Strict, use_attribute_docstrings=True):
    """The one look at the test split."""

    batch_size: Count
    """Samples that are judged at once; changes no result."""
    rule: Literal["fused", "sum", "sum_all", "weighted"]
    """The multimodal prediction that is judged: of the fusion; the sum of the modalities' logits, or of those and the
    fusion's; or the mean of the modalities' probabilities by weights chosen on validation."""


class Report(Strict):
    """What the page compares and shows."""

    confidence: Annotated[float, Field(gt=0, lt=1)]
    num_examples: Annotated[int, Field(ge=0)]


class Grid(Strict, use_attribute_docstrings=True):
    """The cells that are run: every method with every scheduler and every seed."""

    seeds: Annotated[list[Annotated[int, Field(ge=0, lt=2**32)]], Field(min_length=1)]
    """Each repeats all cells."""
    methods: Annotated[list[Name], Field(min_length=1)]
    """Training methods, by their names under `methods`."""
    schedulers: Annotated[list[Name], Field(min_length=1)]
    """By their names under `curriculum.schedulers`; `random` is among them."""


class Flow(Strict, use_attribute_docstrings=True):
    """How much of the grid runs side by side."""

    max_parallel: Count
    """Stages at a time."""


class Ci(Strict):
    """When a retraining fails."""

    max_drop: Annotated[float, Field(ge=0)]
    """Points of fused validation accuracy, mean over seeds, that a method with a scheduler may lose to the base."""


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
    methods: dict[MethodName, Annotated[Method, BeforeValidator(METHODS.build)]]
    train: Train
    runtime: Runtime
    evaluate: Evaluate
    report: Report
    grid: Grid
    flow: Flow
    ci: Ci

    @model_validator(mode="after")
    def _names_are_known(self) -> Self:
        for key, names, known in (
            ("encoders", list(self.encoders), self.preprocess.modalities),
            ("augment", list(self.augment), self.preprocess.modalities),
            ("grid.methods", self.grid.methods, self.methods),
            ("grid.schedulers", self.grid.schedulers, self.curriculum.schedulers),
            ("grid.seeds", [str(seed) for seed in self.grid.seeds], map(str, self.grid.seeds)),
        ):
            _check_names(key, names, list(known))
        return self

    @model_validator(mode="after")
    def _changes_of_the_data_are_noticed(self) -> Self:
        for path in map(Path.absolute, self.preprocess.inputs):
            if not path.is_relative_to(Path(self.raw).absolute()):
                raise InputError(f"raw: '{self.raw}' does not hold {path}, so DVC would not notice when that changes")
        return self

    @model_validator(mode="after")
    def _metrics_have_names_of_their_own(self) -> Self:
        if reserved := {"judged", "own", "rule", "weights"} & set(self.preprocess.modalities):
            raise InputError(f"preprocess: a modality is called '{min(reserved)}', as something among the metrics is")
        return self

    @model_validator(mode="after")
    def _comparisons_have_their_baselines(self) -> Self:
        for key, names, needed in (
            ("grid.schedulers", self.grid.schedulers, BASELINE),
            ("curriculum.schedulers", self.curriculum.schedulers, BASELINE),
            ("methods", self.methods, ALONE),
        ):
            if needed not in names:
                raise InputError(f"{key}: '{needed}' is missing; the others are compared with it")
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
            if "criteria" not in scheduler.model_fields_set:
                own = scheduler.model_copy(update={"criteria": self.score.criteria})
                self.curriculum.schedulers[name] = own
            elif missing := [criterion for criterion in scheduler.criteria if criterion not in measured]:
                raise InputError(
                    f"curriculum.schedulers.{name}.criteria: {missing} are not measured; add them to score.others"
                )
        return self

    @model_validator(mode="after")
    def _methods_can_be_shared(self) -> Self:
        if self.train.devices * self.train.nodes > 1:
            for name in self.grid.methods:
                if self.train.strategy not in (possible := self.methods[name].strategies):
                    raise InputError(
                        f"train.strategy: '{self.train.strategy}', but several processes can share the method "
                        f"'{name}' of grid.methods by {' or '.join(possible)} alone"
                    )
        return self

    @model_validator(mode="after")
    def _batches_can_be_shared(self) -> Self:
        ranks = self.train.devices * self.train.nodes
        for key, size in (("warmup", self.warmup.batch_size), ("train", self.train.batch_size)):
            if size % ranks or size < 2 * ranks > 2:
                raise InputError(
                    f"{key}.batch_size: {size} samples are shared by {ranks} processes (train.devices x "
                    f"train.nodes); take a multiple of {ranks}, 2 for each at least"
                )
        return self

    @model_validator(mode="after")
    def _sequences_are_long_enough(self) -> Self:
        if (needed := self.warmup.epochs + self.train.epochs) > self.curriculum.epochs:
            raise InputError(
                f"curriculum.epochs: {self.curriculum.epochs} epochs of sequences are laid out, but warmup.epochs "
                f"+ train.epochs = {needed} are needed; raise curriculum.epochs"
            )
        return self


def _check_names(key: str, names: list[str], known: list[str]) -> None:
    for name in names:
        if name not in known:
            raise InputError(f"{key}: {UnknownName('name', name, known)}")
    if len(set(names)) < len(names):
        raise InputError(f"{key}: [{', '.join(names)}] lists one thing twice")


def load(path: Path) -> Params:
    """The checked parameters of a file; errors as of `read_mapping` and `checked`."""
    return checked(read_mapping(path), Params, path)
