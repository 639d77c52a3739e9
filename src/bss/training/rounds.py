"""A round of active learning: more pairs get their labels, a model is trained anew, and is asked of all pairs."""

import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import torch

from bss.curriculum.acquisitions.acquisition import Pool, acquired
from bss.curriculum.sampler import CurriculumSampler
from bss.curriculum.schedulers.random import Random
from bss.data.packed import META, PackedSplit, open_split
from bss.errors import InputError
from bss.files import existing, read_tensors, replaced, write_json, write_tensors
from bss.measure.evidence import Evidence, read_evidence, write_evidence
from bss.measure.shapley import absolute_shares, shapley_values
from bss.model import MultimodalModel, build_model
from bss.paths import Round, Workspace
from bss.registry import lookup
from bss.seeds import generator
from bss.training import weights
from bss.training.augment import Augmentation
from bss.training.checkpoint import checkpoints_of
from bss.training.loader import cached
from bss.training.loop import Report, fit, split_evidence
from bss.training.losses import balanced_weights
from bss.training.runtime import Runtime
from bss.training.shapley import MOST, confidences
from bss.training.trainer import Trainer
from bss.training.weights import WEIGHTS
from bss.types import FUSED, Split

if TYPE_CHECKING:
    from bss.params import Params

LABELLED, EVIDENCE = "labelled.parquet", "evidence.safetensors"


def train_round(params: "Params", round_: Round, workspace: Workspace, report: Report) -> None:
    """Label more pairs, train from new weights on all labelled ones, and write these, weights and evidence.

    The labels of the other pairs are not looked at. Validation is not either: the last epoch counts.

    Args:
        params: of the whole workspace.
        round_: which; its number is 0 for the first labels, which are drawn at random.
        workspace: where its artifacts lie.
        report: called after each epoch.

    Raises:
        InputError: an artifact is missing or damaged, the pool is too small, or the training met what its user can
            mend.
    """
    settings, seed = params.active, round_.seed
    method = lookup("training method", settings.method, params.methods)
    if method.looks_at_validation:
        raise InputError(f"active.method: '{settings.method}' looks at validation, which active learning has none of")
    train = open_split(workspace.packed, Split.TRAIN)
    model = build_model(train.meta, params.encoders, seed, params.fusion)
    runtime = Runtime.start(
        params.runtime, params.spread, params.flow.num_workers, model=model, num_stages=params.max_parallel
    )
    started = time.monotonic()
    labelled = _labelled(params, round_, workspace, train, runtime)
    seconds = time.monotonic() - started
    rows = np.unique(labelled["index"].to_numpy()).astype(np.int64)
    taught = cached(train.only(rows), params.flow.cache, runtime)
    optimisation = params.train.model_copy(update={"epochs": settings.epochs, "keep": "last"})
    weighted = params.train.class_weights == "balanced"
    class_weights = balanced_weights(taught.labels, len(train.meta.classes)) if weighted else None
    augment = Augmentation(params.augment, train.meta)
    trainer = Trainer(model, method, optimisation, runtime, seed, augment, class_weights=class_weights)
    sampler = CurriculumSampler(len(taught), Random(), seed)
    inputs = [workspace.packed / META, train.folder / Split.TRAIN]
    inputs += [workspace.round(round_.before)] if round_.number else []
    parts = {"active": repr((settings.method, settings.epochs)), "labelled": rows.tolist()}
    checkpoints = checkpoints_of(params, workspace, f"active-{round_}", inputs, runtime, parts)
    saved = checkpoints if runtime.is_first else None
    progress = partial(report, settings.epochs) if runtime.is_first else None
    fit(trainer, sampler, taught, taught, optimisation, settings.epochs, progress, saved)
    evidence = split_evidence(trainer.module, _hidden(train, rows), optimisation.batch_size, runtime)
    trained = weights.take(model)
    if saved is None:
        return
    folder = workspace.round(round_)
    write_tensors(trained, folder / WEIGHTS)
    write_evidence(evidence, folder / EVIDENCE)
    write_json({"seconds": round(seconds, 3)}, workspace.seconds(round_))
    with replaced(folder / LABELLED) as temporary:
        labelled.write_parquet(temporary)
    saved.remove()


def _hidden(train: PackedSplit, labelled: np.ndarray) -> PackedSplit:
    """The split without the labels of the pairs that are not labelled: class 0 stands in their place."""
    labels = np.zeros_like(train.labels)
    labels[labelled] = train.labels[labelled]
    return replace(train, labels=labels)


def _labelled(
    params: "Params", round_: Round, workspace: Workspace, train: PackedSplit, runtime: Runtime
) -> pl.DataFrame:
    """The labelled pairs in the order in which they were labelled.

    Columns: index, id, label; `round`, in which they were; and for those that were asked for `predicted`, the class
    that the model gave them before, and `dominance`, the largest share of a modality in that, see `absolute_shares`.
    """
    settings = params.active
    if round_.number == 0:
        if (wanted := settings.initial + len(settings.rounds) * settings.per_round) > len(train):
            raise InputError(
                f"active: {settings.initial} labels and {len(settings.rounds)} rounds of {settings.per_round} are "
                f"{wanted}, and there are {len(train)} training pairs: fewer rounds, or fewer labels a round"
            )
        draws = generator(round_.seed, "first labels").permutation(len(train))[: settings.initial]
        return _rows(train, draws, 0).with_columns(
            predicted=pl.lit(None, dtype=pl.Int64), dominance=pl.lit(None, dtype=pl.Float64)
        )
    acquisition = lookup("acquisition", round_.acquisition, settings.acquisitions)
    folder = workspace.round(round_.before)
    before = pl.read_parquet(existing(folder / LABELLED))
    evidence = read_evidence(folder / EVIDENCE, [*train.meta.modalities, FUSED])
    model = build_model(train.meta, params.encoders, round_.seed, params.fusion)
    lookup("training method", settings.method, params.methods).prepare(model)
    model.load_state_dict(read_tensors(folder / WEIGHTS))
    pool = _pool(evidence, before["index"].to_numpy(), model, runtime)
    chosen = acquired(acquisition, pool, settings.per_round, round_.seed, round_.number)
    dominance = np.full(len(chosen), np.nan)
    if pool.by_subset is not None:
        shares = absolute_shares(shapley_values(pool.confidences()))
        dominance = torch.stack([*shares.values()]).amax(dim=0).numpy()[chosen]
    asked = _rows(train, chosen, round_.number).with_columns(
        predicted=pl.Series(pool.evidence.labels.numpy()[chosen]),
        dominance=pl.Series(dominance).fill_nan(None),
    )
    return pl.concat([before, asked])


def _rows(train: PackedSplit, indices: np.ndarray, number: int) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "index": indices,
            "id": [train.ids[index] for index in indices],
            "label": train.labels[indices],
            "round": np.full(len(indices), number),
        }
    )


def _pool(evidence: Evidence, labelled: np.ndarray, model: MultimodalModel, runtime: Runtime) -> Pool:
    """What an acquisition may know: a label that is not there is what the fusion predicts."""
    is_labelled = np.zeros(len(evidence.labels), dtype=bool)
    is_labelled[labelled] = True
    predicted = evidence.logits[FUSED].argmax(dim=1)
    known = replace(evidence, labels=torch.where(torch.from_numpy(is_labelled), evidence.labels, predicted))
    fusion = model.fusion
    if fusion is None or len(model.branches) > MOST:
        return Pool(known, is_labelled)
    runtime.prepare(model)
    features = {name: evidence.needed_features("active learning")[name] for name in model.branches}
    return Pool(known, is_labelled, lambda: confidences(fusion, features, predicted, runtime))
