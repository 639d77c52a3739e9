"""The settings of training: the sections of params.yaml that the warm-up and the training read."""

from typing import Annotated, Literal

from pydantic import Field

from bss.registry import Count, Positive, Strict


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


class Train(Optimisation):
    """Training after the warm-up."""

    epochs: Count
    """Each as long as the scheduler lays it out."""
    lr_schedule: Literal["constant", "cosine", "step"]
    """The learning rate over the training: constant, half a cosine, or a tenth after each third."""
    keep: Literal["best", "last"]
    """The weights that are judged: of the best epoch on validation, or of the last."""


class Spread(Strict, use_attribute_docstrings=True):
    """The processes that share a training or a warm-up: `devices` on each of `nodes` machines."""

    devices: Count
    """Processes that share a batch, on each machine."""
    nodes: Count
    """Machines."""
    strategy: Literal["ddp", "fsdp"]
    """Of more than one process: each has the whole model, or its share of every weight."""


class RuntimeSettings(Strict, use_attribute_docstrings=True):
    """Where and how the arithmetic runs."""

    device: Literal["auto", "cpu", "cuda"]
    precision: Literal["float32", "bfloat16"]
    compile: bool
    channels_last: bool
    deterministic: bool
    threads: Count
