"""Packed training split -> warmed-up weights, and what they say of every training pair."""

from functools import partial

import tasks
from bss import paths
from bss.files import write_tensors
from bss.types import Split


def warmup(seed: tasks.Seed) -> None:
    """Train in random order for `warmup.epochs`, then collect the evidence in one clean pass."""
    params = tasks.params()
    settings = params.warmup

    from bss.data.packed import open_split
    from bss.measure.evidence import write_evidence
    from bss.model import build_model
    from bss.training import weights
    from bss.training.augment import Augmentation
    from bss.training.loader import cached
    from bss.training.loop import warm_up
    from bss.training.methods.joint import Joint
    from bss.training.runtime import Runtime
    from bss.training.trainer import Trainer

    runtime = Runtime(params.runtime, params.train)
    train = cached(open_split(paths.PACKED, Split.TRAIN), params.train.cache, runtime)
    model = build_model(train.meta, params.encoders, seed, params.fusion)
    trainer = Trainer(model, Joint(), settings, runtime, seed, Augmentation(params.augment, train.meta))
    inputs = [paths.PACKED / "meta.json", train.folder / Split.TRAIN]
    saved = tasks.checkpoints(params, f"warmup-{seed}", inputs) if runtime.is_first else None
    progress = partial(tasks.progress, settings.epochs) if runtime.is_first else None
    evidence = warm_up(trainer, train, settings, seed, progress, saved)
    trained = weights.take(trainer.model)
    if saved is None:
        return
    write_tensors(trained, paths.warmup(seed) / "model.safetensors")
    write_evidence(evidence, paths.warmup(seed) / "evidence.safetensors")
    saved.remove()


if __name__ == "__main__":
    tasks.run(warmup)
