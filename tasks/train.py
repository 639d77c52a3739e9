"""Sequences -> a trained model, its history, and how often each training pair was drawn."""

import time
from functools import partial

import tasks
from bss import paths
from bss.files import checksum, read_tensors, replaced, write_json, write_tensors
from bss.types import Split


def train(method: tasks.MethodName, scheduler: tasks.SchedulerName, seed: tasks.Seed) -> None:
    """Train one cell of the grid on the training split, and keep its best epoch on the validation split."""
    params = tasks.params()

    import polars as pl

    from bss.curriculum.plan import read_plan
    from bss.curriculum.sampler import CurriculumSampler
    from bss.data.packed import open_split
    from bss.model import build_model
    from bss.registry import lookup
    from bss.training import weights
    from bss.training.augment import Augmentation
    from bss.training.loader import batch_indices, cached
    from bss.training.loop import fit
    from bss.training.runtime import Runtime
    from bss.training.trainer import Trainer

    runtime = Runtime(params.runtime, params.train)
    component = lookup("training method", method, params.methods)
    packed, validation = (
        cached(open_split(paths.PACKED, split), params.train.cache, runtime)
        for split in (Split.TRAIN, Split.VALIDATION)
    )
    model = build_model(packed.meta, params.encoders, seed, params.fusion)
    if component.from_warmup:
        model.load_state_dict(read_tensors(paths.warmup(seed) / "model.safetensors"))
    plan = paths.curriculum(scheduler, seed)
    scores, recorded = read_plan(plan)
    order = lookup("scheduler", scheduler, params.curriculum.schedulers)
    sampler = CurriculumSampler(len(packed), order, seed, scores=scores, recorded=recorded)
    num_epochs = params.train.epochs + (0 if component.from_warmup else params.warmup.epochs)
    trainer = Trainer(model, component, params.train, runtime, seed, Augmentation(params.augment, packed.meta))
    if component.from_warmup:
        trainer.num_steps = params.warmup.epochs * len(batch_indices(packed.labels, params.warmup.batch_size))
        trainer.num_samples = params.warmup.epochs * len(packed)

    cell, folder = f"{method}-{scheduler}-{seed}", paths.run(method, scheduler, seed)
    inputs = [paths.PACKED / "meta.json", packed.folder / Split.TRAIN, packed.folder / Split.VALIDATION]
    saved = tasks.checkpoints(params, cell, [*inputs, paths.warmup(seed), plan]) if runtime.is_first else None
    progress = partial(tasks.progress, num_epochs) if runtime.is_first else None
    started = time.monotonic()
    history = fit(trainer, sampler, packed, validation, params.train, num_epochs, progress, saved)
    seconds, trained = time.monotonic() - started, weights.take(model)
    if saved is None:
        return
    write_tensors(trained, folder / "model.safetensors")
    timed = {"seconds": round(seconds, 2), "model": checksum(folder / "model.safetensors")}
    write_json(timed, paths.seconds(method, scheduler, seed))
    draws = pl.DataFrame({"id": packed.ids, "num_draws": sampler.num_draws}).with_row_index("index")
    for name, table in {"history": history, "draws": draws}.items():
        with replaced(folder / f"{name}.parquet") as temporary:
            table.write_parquet(temporary)
    saved.remove()


if __name__ == "__main__":
    tasks.run(train)
