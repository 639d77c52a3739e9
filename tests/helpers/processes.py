"""A training for tests/training/test_processes.py, run by one process or by several."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bss.curriculum.sampler import CurriculumSampler
from bss.curriculum.schedulers.learned import Learned
from bss.data.packed import open_split
from bss.encoders.mlp import MLP
from bss.files import write_tensors
from bss.model import build_model
from bss.training import weights
from bss.training.checkpoint import Checkpoints
from bss.training.loop import fit, warm_up
from bss.training.methods.method import METHODS, Method
from bss.training.objectives.objective import OBJECTIVES
from bss.training.runtime import Runtime
from bss.training.settings import Spread, Warmup
from bss.training.trainer import Trainer
from tests.helpers.toy import SETTINGS, TRAIN

EPOCHS = 3
KILLED = 9


class Mortal(Checkpoints):
    """Killed after its fourth checkpoint."""

    def save(self, state: Any) -> None:
        super().save(state)
        if list(self.folder.glob("00000003-*")):
            sys.exit(KILLED)


def early(name: str) -> Method:
    """A method that does all that it does from the first epoch on."""
    starts = {"starts": 0} if "starts" in METHODS[name].model_fields else {}
    method: Method = METHODS.example(name, **starts)
    return method


def main(packed: str, out: str, devices: str, strategy: str, methods: str, end: str) -> None:
    """Train with one method after the other, each into its own folder below `out`.

    Where the `end` is "kill", a last training of the first method is killed, below `out`/broken.
    """
    runtime = Runtime.start(SETTINGS, Spread(devices=int(devices), nodes=1, strategy=strategy))
    names = methods.split(",")
    for name in names:
        try:
            train_with(name, Path(packed), Path(out, name), runtime, Checkpoints)
        except ValueError as error:
            if strategy in METHODS[name].strategies:
                raise
            Path(out, name, f"refused-{runtime.rank}").write_text(str(error))
    for name in OBJECTIVES:
        warm_up_with(
            {"name": name, **OBJECTIVES[name].example}, Path(packed), Path(out, f"objective-{name}"), runtime
        )
    if end == "kill":
        train_with(names[0], Path(packed), Path(out, "broken", names[0]), runtime, Mortal)


def train_with(method: str, packed: Path, folder: Path, runtime: Runtime, kept: type[Checkpoints]) -> None:
    """Train, and write weights, scores and the samples of each step as this rank saw them."""
    folder.mkdir(parents=True, exist_ok=True)
    train, validation = open_split(packed, "train"), open_split(packed, "validation")
    model = build_model(train.meta, {name: MLP(width=16) for name in train.meta.modalities}, 0)
    settings = TRAIN.model_copy(update={"batch_size": 20})  # 96 = 4 x 20 + 16
    trainer = Trainer(model, early(method), settings, runtime)
    seen: list[Any] = []
    step = trainer._step

    def watched(batch: Any) -> Any:
        share = runtime.share(batch.indices.numpy())
        seen.append({"whole": batch.indices.tolist(), "own": share.tolist()})
        assert len(share) == len(next(iter(batch.inputs.values())))
        return step(batch)

    trainer._step = watched  # type: ignore[method-assign]
    sampler = CurriculumSampler(len(train), Learned(score_update="mixed", refresh_every=2), scores=np.zeros(96))
    saved = kept(folder / "checkpoints", 0) if runtime.is_first else None
    history = fit(trainer, sampler, train, validation, settings, EPOCHS, None, saved)
    trained = weights.take(model)
    (folder / f"seen-{runtime.rank}.json").write_text(json.dumps(seen))
    if runtime.is_first:
        write_tensors({**trained, "scores": torch.from_numpy(sampler.scores)}, folder / "found.safetensors")
        history.write_parquet(folder / "history.parquet")


def warm_up_with(objective: Any, packed: Path, folder: Path, runtime: Runtime) -> None:
    """Warm up, and write weights and the fused evidence."""
    train = open_split(packed, "train")
    settings = Warmup(
        **TRAIN.model_dump(include=set(Warmup.model_fields) - {"epochs"}), epochs=2, objective=objective
    )
    model = build_model(train.meta, {name: MLP(width=16) for name in train.meta.modalities}, 0)
    trainer = Trainer(model, settings.objective, settings, runtime)
    evidence = warm_up(trainer, train, settings.model_copy(update={"batch_size": 20}), 0)
    trained = weights.take(model)
    if runtime.is_first:
        write_tensors({**trained, "evidence": evidence.logits["fused"]}, folder / "found.safetensors")


if __name__ == "__main__":
    main(*sys.argv[1:])
