"""The settings of training: the sections of params.yaml that the warm-up and the training read."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, PlainSerializer, WithJsonSchema

from bss.registry import Count, CountOrAuto, Positive, Strict, spec
from bss.training.objectives.joint import Joint
from bss.training.objectives.objective import OBJECTIVES, Objective


class Optimisation(Strict, use_attribute_docstrings=True):
    """The optimizer and its batches."""

    batch_size: Annotated[int, Field(ge=2)]
    """Samples of one step."""
    optimizer: Literal["adamw", "sgd"]
    """The optimizer that updates the weights."""
    lr: Positive
    """Learning rate, at the start."""
    weight_decay: Annotated[float, Field(ge=0)]
    """Share of the weights that an update takes away, times the learning rate."""
    momentum: Annotated[float, Field(ge=0, lt=1)]
    """Momentum of sgd; adamw has none."""


class Augment(Strict):
    """Random changes of one modality's training samples; each is left out by default."""

    crop: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Least share of the picture in a window of it, which is enlarged."""
    flip: bool = False
    """Whether half of the pictures are mirrored, left to right."""
    num_frames: Count | None = None
    """Number of frames, drawn for each sample."""
    time_mask: Count | None = None
    """Most columns of a spectrogram that take the mean."""
    frequency_mask: Count | None = None
    """Most rows of a spectrogram that take the mean."""


class Warmup(Optimisation):
    """Training in random order before the pairs are scored."""

    epochs: Annotated[int, Field(ge=0)]
    """Passes over the training samples; 0 scores an untrained network."""
    objective: Annotated[
        Objective, BeforeValidator(OBJECTIVES.build), PlainSerializer(spec), WithJsonSchema({"type": "object"})
    ] = Joint()
    """What is minimised."""
    probe_epochs: Annotated[int, Field(ge=0)] = 2
    """Further passes, where the objective trains no classifiers: they and the fusion learn, the encoders rest."""

    @property
    def num_epochs(self) -> int:
        """Passes in all."""
        return self.epochs + (0 if self.objective.trains_heads else self.probe_epochs)


class Train(Optimisation):
    """Training after the warm-up."""

    epochs: Count
    """Epochs, each as long as the scheduler lays it out."""
    lr_schedule: Literal["constant", "cosine", "step"]
    """The learning rate over the training: constant, half a cosine, or a tenth after each third."""
    keep: Literal["best", "last"]
    """The weights that are judged: of the best epoch on validation, or of the last."""
    class_weights: Literal["none", "balanced"] = "none"
    """Weight of a training sample in every cross-entropy: 1, or in inverse proportion to the size of its class."""


class Spread(Strict, use_attribute_docstrings=True):
    """The processes that share a training or a warm-up: `devices` on each of `nodes` machines."""

    devices: Count
    """Processes that share a batch, on each machine."""
    nodes: Count
    """Machines."""
    strategy: Literal["ddp", "fsdp"]
    """How several processes hold the model: each the whole of it (ddp), or its share of every weight (fsdp)."""


class RuntimeSettings(Strict, use_attribute_docstrings=True):
    """Device, precision and threads of the arithmetic."""

    device: Literal["auto", "cpu", "cuda"]
    precision: Literal["auto", "float32", "bfloat16"]
    """Of products in forward and backward passes; `auto` is bfloat16 where device and model are such that it pays."""
    compile: bool
    channels_last: bool
    deterministic: bool
    threads: CountOrAuto
    """Of one process on the CPU; `auto` shares the cores among the stages that run at a time."""
