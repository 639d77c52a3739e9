"""Sequences -> a trained model, its history, and how often each training pair was drawn."""

from functools import partial

import tasks
from bss import paths
from bss.files import read_tensors, replaced, write_tensors
from bss.types import Split


def train(method: str, scheduler: str, seed: int) -> None:
    """Train one cell of the grid on the training split, and keep its best epoch on the validation split."""
    params = tasks.params()

    import polars as pl

    from bss.curriculum.plan import read_plan
    from bss.curriculum.sampler import CurriculumSampler
    from bss.data.packed import open_split
    from bss.encoders.model import build_model
    from bss.registry import lookup
    from bss.training.loader import batch_indices
    from bss.training.loop import Trainer, fit
    from bss.training.runtime import Runtime

    component = lookup("training method", method, params.methods)
    packed = open_split(paths.PACKED, Split.TRAIN)
    validation = open_split(paths.PACKED, Split.VALIDATION)
    model = build_model(packed.meta, params.encoders, seed)
    if component.from_warmup:
        model.load_state_dict(read_tensors(paths.warmup(seed) / "model.safetensors"))
    scores, recorded = read_plan(paths.curriculum(scheduler, seed))
    sampler = CurriculumSampler(
        len(packed),
        lookup("scheduler", scheduler, params.curriculum.schedulers),
        seed,
        scores=scores,
        recorded=recorded,
    )
    num_epochs = params.train.epochs + (0 if component.from_warmup else params.warmup.epochs)
    trainer = Trainer(model, component, params.train, Runtime(params.runtime))
    if component.from_warmup:
        trainer.num_steps = params.warmup.epochs * len(batch_indices(packed.labels, params.warmup.batch_size))
        trainer.num_samples = params.warmup.epochs * len(packed)
    history = fit(trainer, sampler, packed, validation, params.train, num_epochs, partial(tasks.progress, num_epochs))

    folder = paths.run(method, scheduler, seed)
    write_tensors(model.state_dict(), folder / "model.safetensors")
    draws = pl.DataFrame({"id": packed.ids, "num_draws": sampler.num_draws}).with_row_index("index")
    for name, table in {"history": history, "draws": draws}.items():
        with replaced(folder / f"{name}.parquet") as temporary:
            table.write_parquet(temporary)


if __name__ == "__main__":
    tasks.run(train)
