"""The training of one cell of the grid: from the artifacts of a workspace to new ones."""

import time
from functools import partial
from typing import TYPE_CHECKING

import polars as pl

from bss.curriculum.plan import read_plan
from bss.curriculum.sampler import CurriculumSampler
from bss.data.packed import META, open_split
from bss.files import checksum, read_tensors, replaced, write_json, write_tensors
from bss.model import build_model
from bss.paths import Cell, Workspace
from bss.registry import lookup
from bss.training import weights
from bss.training.augment import Augmentation
from bss.training.checkpoint import checkpoints_of
from bss.training.curves import LiveCurves
from bss.training.epoch_weights import EpochWeights
from bss.training.loader import batch_indices, cached
from bss.training.loop import Report, fit
from bss.training.losses import balanced_weights
from bss.training.runtime import Runtime
from bss.training.trainer import Trainer
from bss.training.weights import WEIGHTS
from bss.types import Split

if TYPE_CHECKING:
    from bss.params import Params


def train_cell(params: "Params", cell: Cell, workspace: Workspace, report: Report) -> None:
    """Train on the training split and keep the best epoch on validation; write weights, history and draws.

    Args:
        params: of the whole grid.
        cell: which training.
        workspace: where its artifacts lie.
        report: called after each epoch.

    Raises:
        InputError: an artifact is missing or damaged, or the training met what its user can mend.
    """
    method = lookup("training method", cell.method, params.methods)
    train, validation = (open_split(workspace.packed, split) for split in (Split.TRAIN, Split.VALIDATION))
    model = build_model(train.meta, params.encoders, cell.seed, params.fusion)
    runtime = Runtime.start(
        params.runtime, params.spread, params.flow.num_workers, model=model, num_stages=params.max_parallel
    )
    train, validation = (cached(split, params.flow.cache, runtime) for split in (train, validation))
    num_epochs, num_steps, num_samples = params.warmup.num_epochs + params.train.epochs, 0, 0
    if method.goes_on:
        model.load_state_dict(read_tensors(workspace.warmup(cell.seed) / WEIGHTS))
        num_epochs = params.train.epochs
        num_steps = params.warmup.num_epochs * len(batch_indices(train.labels, params.warmup.batch_size))
        num_samples = params.warmup.num_epochs * len(train)
    plan = workspace.curriculum(cell.scheduler, cell.seed)
    scores, recorded = read_plan(plan)
    scheduler = lookup("scheduler", cell.scheduler, params.curriculum.schedulers)
    sampler = CurriculumSampler(
        len(train), scheduler, cell.seed, scores=scores, labels=train.labels, recorded=recorded
    )
    augment = Augmentation(params.augment, train.meta)
    weighted = params.train.class_weights == "balanced"
    class_weights = balanced_weights(train.labels, len(train.meta.classes)) if weighted else None
    trainer = Trainer(model, method, params.train, runtime, cell.seed, augment, num_steps, num_samples, class_weights)

    inputs = [workspace.packed / META, *(train.folder / split for split in (Split.TRAIN, Split.VALIDATION))]
    inputs += [workspace.warmup(cell.seed), plan]
    saved = checkpoints_of(params, workspace, str(cell), inputs, runtime) if runtime.is_first else None
    progress = partial(report, num_epochs) if runtime.is_first else None
    kept = EpochWeights(workspace.epochs(cell), runtime) if cell.seed in params.by_test.seeds else None
    after_epoch = partial(kept.keep, model) if kept else None
    started = time.monotonic()
    with LiveCurves(params.flow.log if runtime.is_first else (), workspace.logs, str(cell)) as curves:
        history = fit(
            trainer, sampler, train, validation, params.train, num_epochs, progress, saved, after_epoch, curves
        )
    seconds, trained = time.monotonic() - started, weights.take(model)
    if saved is None:
        return
    folder = workspace.run(cell)
    write_tensors(trained, folder / WEIGHTS)
    write_json(runtime.facts, workspace.runtime(cell))
    write_json({"seconds": round(seconds, 2), "model": checksum(folder / WEIGHTS)}, workspace.seconds(cell))
    draws = pl.DataFrame({"id": train.ids, "num_draws": sampler.num_draws}).with_row_index("index")
    if kept:
        kept.seal(folder / WEIGHTS, history["epoch"].n_unique())
    for name, table in {"history": history, "draws": draws}.items():
        with replaced(folder / f"{name}.parquet") as temporary:
            table.write_parquet(temporary)
    saved.remove()
