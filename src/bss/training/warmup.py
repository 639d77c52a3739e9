"""The warm-up of one seed: from the packed data of a workspace to weights and evidence."""

from functools import partial
from typing import TYPE_CHECKING

from bss.data.packed import META, open_split
from bss.files import write_tensors
from bss.measure.evidence import write_evidence
from bss.model import build_model
from bss.paths import Workspace
from bss.training import weights
from bss.training.augment import Augmentation
from bss.training.checkpoint import checkpoints_of
from bss.training.loader import cached
from bss.training.loop import Report, split_evidence, warm_up
from bss.training.runtime import Runtime
from bss.training.trainer import Trainer
from bss.training.weights import WEIGHTS
from bss.types import Split

if TYPE_CHECKING:
    from bss.params import Params


def warm_up_cell(params: "Params", seed: int, workspace: Workspace, report: Report) -> None:
    """Train in random order by `warmup.objective`, then write weights and the evidence of training and validation.

    Args:
        params: of the whole grid.
        seed: of the weights and of every draw.
        workspace: where the artifacts lie.
        report: called after each epoch.

    Raises:
        InputError: an artifact is missing or damaged, or the training met what its user can mend.
    """
    settings = params.warmup
    train, validation = (open_split(workspace.packed, split) for split in (Split.TRAIN, Split.VALIDATION))
    model = build_model(train.meta, params.encoders, seed, params.fusion)
    runtime = Runtime.start(
        params.runtime, params.spread, params.flow.num_workers, model=model, num_stages=params.max_parallel
    )
    train = cached(train, params.flow.cache, runtime)
    trainer = Trainer(model, settings.objective, settings, runtime, seed, Augmentation(params.augment, train.meta))
    inputs = [workspace.packed / META, train.folder / Split.TRAIN]
    saved = checkpoints_of(params, workspace, f"warmup-{seed}", inputs, runtime) if runtime.is_first else None
    progress = partial(report, settings.num_epochs) if runtime.is_first else None
    evidence = warm_up(trainer, train, settings, seed, progress, saved)
    held_out = split_evidence(trainer.module, validation, settings.batch_size, runtime)
    trained = weights.take(model)
    if saved is None:
        return
    write_tensors(trained, workspace.warmup(seed) / WEIGHTS)
    for split, seen in {Split.TRAIN: evidence, Split.VALIDATION: held_out}.items():
        write_evidence(seen, workspace.evidence(seed, split))
    saved.remove()
