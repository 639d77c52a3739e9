"""Packed training split -> warmed-up weights, and what they say of every training pair."""

import tasks
from bss import paths
from bss.files import write_tensors
from bss.types import Split


def warmup(seed: int) -> None:
    """Train in random order for `warmup.epochs`, then collect the evidence in one clean pass."""
    params = tasks.params()
    settings = params.warmup

    from bss.data.packed import open_split
    from bss.encoders.model import build_model
    from bss.measure.evidence import write_evidence
    from bss.seeds import generator
    from bss.training.loader import batches
    from bss.training.loop import Trainer, split_evidence
    from bss.training.methods.joint import Joint
    from bss.training.runtime import Runtime

    runtime = Runtime(params.runtime)
    train = open_split(paths.PACKED, Split.TRAIN)
    trainer = Trainer(build_model(train.meta, params.encoders, seed), Joint(), settings, runtime)
    for epoch in range(settings.epochs):
        order = generator(seed, "warmup", epoch).permutation(len(train))
        losses = trainer.train_epoch(batches(train, order, settings.batch_size, runtime), settings.lr)
        tasks.progress(settings.epochs, epoch + 1, {f"loss_{output}": loss for output, loss in losses.items()})
    evidence = split_evidence(trainer.model, train, settings.batch_size, runtime)
    write_tensors(trainer.model.state_dict(), paths.warmup(seed) / "model.safetensors")
    write_evidence(evidence, paths.warmup(seed) / "evidence.safetensors")


if __name__ == "__main__":
    tasks.run(warmup)
